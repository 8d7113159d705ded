import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { createConfig } from '../../src/config/index.ts';
import { startServer } from '../../src/server.ts';

type Envelope = Record<string, unknown>;

const text = { topic: 'a', contentType: 'text/plain', data: '' };
const bytes = { topic: 'a', contentType: 'image/png', encoding: 'base64', data: '' };
const deletion = { topic: 'a', key: 'k' };
const end = { topic: 'a', end: true };

describe('an empty payload', () => {
  let server: Awaited<ReturnType<typeof startServer>>;
  let url: string;
  beforeAll(async () => {
    server = await startServer(createConfig({ engine: 'memory', port: 0, log: { level: 'silent' } }));
    url = `http://127.0.0.1:${server.address.port}`;
    const post = (path: string, body: string, type: string): Promise<Response> =>
      fetch(url + path, { method: 'POST', body, headers: { 'content-type': type } });
    expect((await post('/v1/topics/a', '', 'text/plain')).status).toBe(200);
    const rest = await post('/v1/publish', JSON.stringify([bytes, deletion, end]), 'application/json');
    expect(rest.status).toBe(200);
  });
  afterAll(() => server.close());

  function check(envelopes: Envelope[]): void {
    const shown = envelopes.map(({ offset, time, ...members }) => members);
    expect(shown).toEqual([text, bytes, deletion, end]);
  }

  test('is shown by SSE', async () => {
    const answer = await (await fetch(`${url}/v1/sse?filter=a&from=earliest`)).text();
    const events = answer.split('\n\n').filter(event => !event.includes('event: tailrace'));
    check(
      events.flatMap(event => {
        const line = event.split('\n').find(field => field.startsWith('data: {'));
        return line === undefined ? [] : [JSON.parse(line.slice(6)) as Envelope];
      }),
    );
  });

  test('is shown by WebSocket', async () => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, 'tailrace.v1.json');
    const envelopes: Envelope[] = [];
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.once('open', () =>
        socket.send(JSON.stringify({ type: 'subscribe', subscriptions: [{ filter: 'a', from: 'earliest' }] })),
      );
      socket.on('message', frame => {
        const { type, messages } = JSON.parse(String(frame)) as { type: string; messages: Envelope[] };
        if (type === 'messages') envelopes.push(...messages);
        if (type === 'end') resolve();
        if (type === 'error') reject(new Error(String(frame)));
      });
    });
    socket.close();
    check(envelopes);
  });

  test('is shown by long-poll', async () => {
    const answer = await fetch(`${url}/v1/poll?filter=a&from=earliest`);
    check(((await answer.json()) as { messages: Envelope[] }).messages);
  });

  test('is shown by the log', async () => {
    const lines = (await (await fetch(`${url}/v1/log?filter=a&from=earliest`)).text()).trimEnd().split('\n');
    check(lines.map(line => JSON.parse(line) as Envelope).filter(line => 'topic' in line));
  });

  test.each([{ topic: 'b', contentType: 'text/plain' }, { topic: 'b', contentType: 'image/png' }, { topic: 'b' }])(
    'is not one that was left out: %j',
    async message => {
      const answer = await fetch(`${url}/v1/publish`, {
        method: 'POST',
        body: JSON.stringify(message),
        headers: { 'content-type': 'application/json' },
      });
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({
        code: 'payload_invalid',
        detail: expect.stringMatching(/^data is missing/),
        at: { field: 'data' },
      });
    },
  );
});
