import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { createConfig } from '../../src/config/index.ts';
import { createTailrace } from '../../src/index.ts';
import { startServer } from '../../src/server.ts';

const directory = mkdtempSync(join(tmpdir(), 'tailrace-durability-'));
afterAll(() => rmSync(directory, { recursive: true }));

type Problem = Record<string, unknown>;

interface Answer {
  readonly status: number;
  readonly body: Problem;
}

describe.each([
  ['memory', ['none']],
  ['disk', ['fsync', 'written', 'none']],
] as const)('durability on the engine %s', (engine, offered) => {
  let server: Awaited<ReturnType<typeof startServer>>;
  let url: string;
  beforeAll(async () => {
    server = await startServer(createConfig({ engine, data: directory, port: 0, log: { level: 'silent' } }));
    url = `http://127.0.0.1:${server.address.port}`;
  });
  afterAll(() => server.close());

  const head = (): number => server.server.log.head.offset;

  async function post(path: string, body: string, type = 'application/json'): Promise<Answer> {
    const response = await fetch(url + path, { method: 'POST', body, headers: { 'content-type': type } });
    const text = await response.text();
    return { status: response.status, body: JSON.parse(text.trimEnd().split('\n').at(-1)!) as Problem };
  }

  test('is told by discovery, and is what the log says it can do', async () => {
    expect(await (await fetch(`${url}/v1`)).json()).toMatchObject({ durabilities: offered });
    expect([...server.server.log.capabilities.durabilities, 'none']).toEqual(offered);
  });

  test('a publish that names no class is taken', async () => {
    expect(await post('/v1/topics/a', '1')).toMatchObject({ status: 200, body: { duplicate: false } });
    expect(await post('/v1/publish', '[{"topic":"a","data":1}]')).toMatchObject({ status: 200 });
  });

  test.each(['fsync', 'written', 'none'] as const)(
    '%s is acknowledged where the engine keeps it, else refused',
    async asked => {
      const refusal = {
        code: 'durability_unsupported',
        retry: 'never',
        detail: expect.stringMatching(
          new RegExp(
            `^durability is "${asked}", which the engine of this server cannot promise .*offers none.*leave it out`,
          ),
        ),
      };
      const keeps = offered.includes(asked as never);
      const before = head();
      const plain = await post(`/v1/topics/a?durability=${asked}`, '1');
      const array = await post(
        '/v1/publish',
        `[{"topic":"a","data":1},{"topic":"a","data":2,"durability":"${asked}"}]`,
      );
      const lines = await post(
        '/v1/publish',
        `{"topic":"a","data":1}\n{"topic":"a","data":2,"durability":"${asked}"}\n{"topic":"a","data":3}\n`,
        'application/x-ndjson',
      );
      if (keeps) {
        expect([plain.status, array.status, lines.status]).toEqual([asked === 'none' ? 202 : 200, 200, 200]);
        expect(lines.body).toMatchObject({ done: true, accepted: 3 });
        return;
      }
      expect(plain).toMatchObject({ status: 400, body: { ...refusal, at: { field: 'durability' } } });
      // an array is checked whole before anything of it is appended; of lines those before stay
      expect(array).toMatchObject({ status: 400, body: { ...refusal, at: { field: 'durability', index: 1 } } });
      expect(lines.body).toMatchObject({ error: { ...refusal, at: { field: 'durability', line: 2 } }, accepted: 1 });
      expect(head()).toBe(before + 1);
    },
  );

  test('over WebSocket', async () => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, 'tailrace.v1.json');
    await new Promise(resolve => socket.once('open', resolve));
    const answers = ['fsync', 'none'].map(async durability => {
      const answer = new Promise<Problem>(resolve => {
        socket.on('message', data => {
          const frame = JSON.parse(String(data)) as Problem;
          if (frame.ref === durability) resolve(frame);
        });
      });
      socket.send(
        JSON.stringify({ type: 'publish', ref: durability, messages: [{ topic: 'a', data: 1, durability }] }),
      );
      return JSON.stringify(await answer);
    });
    const [fsync, none] = await Promise.all(answers);
    expect(fsync!.includes('"durability_unsupported"')).toBe(engine === 'memory');
    expect(none).toContain('{"duplicate":false}');
    socket.close();
  });
});

test('an embedded server refuses what its engine cannot promise, and takes what names no class', async () => {
  await using tailrace = await createTailrace({ engine: 'memory', log: { level: 'silent' } });
  expect(await tailrace.publish('a', 1)).toMatchObject({ offset: 1 });
  await expect(tailrace.publish('a', 1, { durability: 'fsync' })).rejects.toMatchObject({
    code: 'durability_unsupported',
    at: { field: 'durability' },
  });
});
