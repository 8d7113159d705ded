import * as fs from 'node:fs';
import * as path from 'node:path';
import { describe, expect, test } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { type Disk, verify } from '../../src/log/index.ts';
import { startServer } from '../../src/server.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { WsClient } from '../gateway/ws-client.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { FailingDisk, inputOutputError } from './failing-disk.ts';

type Json = Record<string, unknown>;

interface Answer {
  readonly status: number;
  readonly body: Json;
}

/** A server in this process on a directory of its own, as its clients see it. */
async function serve(data: string, disk?: Disk) {
  const config = createConfig({ data, port: 0, log: { level: 'silent' }, segment: { bytes: '64KiB' } });
  const { address, server, close } = await startServer(config, disk === undefined ? {} : { disk });
  const url = `http://127.0.0.1:${address.port}`;
  const ask = async (target: string, options?: RequestInit): Promise<Answer> => {
    const response = await fetch(url + target, options);
    const lines = (await response.text()).trimEnd().split('\n');
    return { status: response.status, body: JSON.parse(lines.at(-1)!) as Json };
  };
  return {
    log: server.log,
    port: address.port,
    ask,
    publish: (id: string) => ask(`/v1/topics/a?id=${id}`, { method: 'POST', body: JSON.stringify(id) }),
    publishLines: (id: string) =>
      ask('/v1/publish', {
        method: 'POST',
        body: `{"topic":"a","id":"${id}","data":1}\n`,
        headers: { 'content-type': 'application/x-ndjson' },
      }),
    /** The ids of all that the log holds. */
    async ids(): Promise<unknown[]> {
      const text = await (await fetch(`${url}/v1/log?filter=a`)).text();
      const lines = text.trimEnd().split('\n').slice(0, -1);
      return lines.map(line => (JSON.parse(line) as Json).id);
    },
    metrics: async () => (await fetch(`${url}/metrics`)).text(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

type Serving = Awaited<ReturnType<typeof serve>>;

const unknown = { code: 'outcome_unknown', status: 503, retry: 'later', outcome: 'unknown' };
const refused = { code: 'log_fenced', status: 503, retry: 'later', outcome: 'none' };

/** A log that is fenced takes nothing over any transport, and is read as before. */
async function expectFenced(server: Serving, reason: string, held: readonly string[]): Promise<void> {
  expect(await server.publish('later')).toEqual({ status: 503, body: expect.objectContaining(refused) });
  expect((await server.publishLines('lines')).body).toMatchObject(refused);
  const ws = await WsClient.open(server.port);
  const answer = await ws.ask({ type: 'publish', ref: 1, messages: [{ topic: 'a', data: 1 }] });
  expect(answer).toMatchObject({ type: 'published', results: [{ error: refused }] });
  ws.close();

  const ready = await server.ask('/readyz');
  expect(ready.status).toBe(503);
  expect(ready.body.reason).toContain(`the log is fenced: ${reason}`);
  expect((await server.ask('/healthz')).status).toBe(200);
  expect(await server.metrics()).toContain('tailrace_log_state{state="fenced"} 1');

  expect(await server.ids()).toEqual(held);
  const sse = await SseClient.open(server.port, 'filter=a&from=earliest');
  await sse.count(held.length);
  await sse.notice('live');
  expect(sse.offsets).toEqual(held.map((_, i) => i + 1));
  sse.close();
}

describe('a disk that fails under a server', () => {
  test.each(['sync', 'write'] as const)(
    'in a %s: the publish in flight is unknown, later ones are refused, reads go on, and a restart recovers',
    async operation => {
      const data = path.join(temporaryDirectory(), 'data');
      const failing = new FailingDisk();
      {
        await using server = await serve(data, failing.disk);
        for (const id of ['1', '2']) expect((await server.publish(id)).status).toBe(200);
        failing.fault = (at, file) => {
          if (at === operation) throw inputOutputError(file);
        };
        expect(await server.publish('3')).toEqual({ status: 503, body: expect.objectContaining(unknown) });
        failing.fault = undefined;
        // the disk is well again, and it makes no difference: what the failed sync left behind cannot be known
        await expectFenced(server, 'EIO', ['1', '2']);
      }
      await using again = await serve(data, failing.disk);
      expect((await again.ask('/readyz')).status).toBe(200);
      for (const id of ['3', '4']) expect((await again.publish(id)).status).toBe(200);
      // once, whether the first try was in the log or not
      expect(await again.ids()).toEqual(['1', '2', '3', '4']);
      expect((await verify(data)).damages).toEqual([]);
    },
  );
});

test('a server whose directory was taken over stops acking, and does no harm to the one that took it', async () => {
  const data = path.join(temporaryDirectory(), 'data');
  await using first = await serve(data);
  for (const id of ['1', '2']) expect((await first.publish(id)).status).toBe(200);
  // as on a file system where the other machine cannot connect to the socket
  fs.rmSync(path.join(data, 'owner.sock'));
  await using second = await serve(data);
  expect(await first.publish('lost')).toEqual({ status: 503, body: expect.objectContaining(unknown) });
  await expectFenced(first, 'another process has taken over the data directory', ['1', '2']);

  for (const id of ['3', '4']) expect((await second.publish(id)).status).toBe(200);
  await first.close();
  for (const id of ['5', '6']) expect((await second.publish(id)).status).toBe(200);
  expect(await second.ids()).toEqual(['1', '2', '3', '4', '5', '6']);
  await second.close();
  await using third = await serve(data);
  expect(await third.ids()).toEqual(['1', '2', '3', '4', '5', '6']);
  expect((await verify(data)).damages).toEqual([]);
});
