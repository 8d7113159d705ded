import { isTailraceError } from '@tailrace/protocol';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { createTailrace } from '../../src/index.ts';
import { startServer } from '../../src/server.ts';
import { type Frame, WsClient } from '../gateway/ws-client.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';

const rules = [{ filter: 'stock/#', keep: { lastPerKey: true } }] as const;

let data: string;
let server: Awaited<ReturnType<typeof startServer>>;
const clients: WsClient[] = [];

async function start(): Promise<void> {
  server = await startServer(createConfig({ data, port: 0, rules, log: { level: 'silent' } }));
}

beforeEach(async () => {
  data = temporaryDirectory();
  await start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server.close();
});

async function open(): Promise<WsClient> {
  const client = await WsClient.open(server.address.port);
  clients.push(client);
  return client;
}

function publish(client: WsClient, ref: number, ...messages: object[]): Promise<Frame> {
  return client.ask({ type: 'publish', ref, messages });
}

interface Message {
  readonly key: string;
  readonly offset: number;
  readonly data?: unknown;
}

const messagesOf = (client: WsClient): Message[] =>
  client.of('messages').flatMap(({ messages }) => messages as Message[]);

test('a table over WebSocket: its state, live, its changes; and the same after a restart', async () => {
  const publisher = await open();
  for (let i = 0; i < 30; i++)
    await publish(publisher, i, { topic: 'stock/berlin', key: `sku${i % 5}`, data: i }, { topic: 'other', data: i });
  await publish(publisher, 30, { topic: 'stock/berlin', key: 'sku0' });
  const reader = await open();
  const subscription = { filter: ['stock/+', 'other'], sub: 's', from: 'last' };
  await reader.ask({ type: 'subscribe', ref: 1, subscriptions: [subscription] });
  await reader.find(({ type }) => type === 'live');
  expect(messagesOf(reader).map(({ key, data: value }) => [key, value])).toEqual([
    ['sku1', 26],
    ['sku2', 27],
    ['sku3', 28],
    ['sku4', 29],
    [undefined, 29],
  ]);
  await publish(publisher, 31, { topic: 'stock/berlin', key: 'sku1', data: 'new' });
  await publish(publisher, 32, { topic: 'stock/berlin', key: 'sku2' });
  await reader.find(
    ({ type, messages }) =>
      type === 'messages' && (messages as Message[]).some(m => m.key === 'sku2' && m.data === undefined),
  );
  expect(
    messagesOf(reader)
      .slice(5)
      .map(({ key, data: value }) => [key, value]),
  ).toEqual([
    ['sku1', 'new'],
    ['sku2', undefined],
  ]);

  await server.close();
  await start();
  const again = await open();
  await again.ask({ type: 'subscribe', ref: 1, subscriptions: [subscription] });
  await again.find(({ type }) => type === 'live');
  expect(messagesOf(again).map(({ key, data: value }) => [key, value])).toEqual([
    ['sku3', 28],
    ['sku4', 29],
    [undefined, 29],
    ['sku1', 'new'],
  ]);
});

test('expectations over WebSocket: the rest of the frame is not attempted, and one of two wins', async () => {
  const [one, two] = [await open(), await open()];
  const set = (expected: object, value: string) => ({ topic: 'stock/a', key: 'k', data: value, expect: expected });
  const published = await publish(one, 1, set({ absent: true }, 'a'), set({ absent: true }, 'b'), {
    topic: 'x',
    data: 1,
  });
  expect(published.results).toMatchObject([
    { offset: 1 },
    { error: { code: 'expect_failed', status: 409, current: { offset: 1, data: 'a' } } },
    { error: { code: 'not_attempted' } },
  ]);
  let newest = 1;
  for (let round = 0; round < 10; round++) {
    const answers = await Promise.all(
      [one, two].map((client, i) => publish(client, 10 + round, set({ offset: newest }, `${round}/${i}`))),
    );
    const results = answers.map(answer => (answer.results as { offset?: number; error?: { current: Message } }[])[0]!);
    const won = results.find(({ offset }) => offset !== undefined)!;
    const lost = results.find(({ error }) => error !== undefined)!;
    expect(lost.error!.current.offset).toBe(won.offset);
    newest = won.offset!;
  }
  const refused = await one.ask({
    type: 'publish',
    ref: 99,
    messages: [{ topic: 'a', data: 1, expect: { offset: 1 } }],
  });
  expect(refused.results).toMatchObject([{ error: { code: 'bad_request', at: { field: 'expect' } } }]);
});

test('frames that follow each other are appended in order although the first waits for the keys of its topic', async () => {
  const publisher = await open();
  for (let i = 0; i < 50; i++) await publish(publisher, i, { topic: 'a', key: `k${i}`, data: i });
  await server.close();
  await start();
  const client = await open();
  const frames = [
    { topic: 'a', key: 'k7', data: 'first', expect: { offset: 8 } },
    { topic: 'a', key: 'k7', data: 'second' },
    { topic: 'a', key: 'k7', data: 'third', expect: { offset: 52 } },
  ];
  for (const [i, message] of frames.entries()) client.send({ type: 'publish', ref: `r${i}`, messages: [message] });
  const last = await client.find(({ ref }) => ref === 'r2');
  expect(last).toMatchObject({ results: [{ offset: 53 }] });
  expect(client.of('published').map(({ results }) => (results as Message[])[0]!.offset)).toEqual([51, 52, 53]);
});

test('discovery lists what there is, and an embedded publish may expect too', async () => {
  const discovery = await (await fetch(`http://127.0.0.1:${server.address.port}/v1`)).json();
  expect(discovery).toMatchObject({ features: expect.arrayContaining(['expect', 'state']) });
  await using embedded = await createTailrace({ engine: 'memory', rules, log: { level: 'silent' } });
  const { offset } = await embedded.publish('stock/a', 1, { key: 'k', expect: { absent: true } });
  const failed = await embedded
    .publish('stock/a', 2, { key: 'k', expect: { absent: true } })
    .catch((error: unknown) => error);
  if (!isTailraceError(failed)) throw new Error('it was taken');
  expect([failed.code, failed.current]).toMatchObject(['expect_failed', { offset, data: 1 }]);
});
