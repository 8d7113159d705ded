import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import type { DiskLog } from '../../src/log/index.ts';
import { startServer } from '../../src/server.ts';
import { until } from '../gateway/harness.ts';
import { type Frame, WsClient } from '../gateway/ws-client.ts';
import { SeededRandom } from '../log/seeded-random.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';

/** Together far more than the kernel takes for a client that does not read. */
const keys = 5000;
const filler = 'x'.repeat(8000);
const rounds = 2;
/** Each deletion that goes while it reads has it begin anew. */
const patienceMs = 60_000;

interface Row {
  readonly topic: string;
  readonly key: string;
  readonly offset: number;
  readonly data?: string;
}

type Step = Row | { readonly type: string };

/** A client of a table that stops reading, and what it was told in order. */
interface TableClient {
  readonly name: string;
  pause(): void;
  resume(): void;
  /** It becomes more and more. */
  readonly steps: readonly Step[];
  close(): void;
}

async function overSse(port: number): Promise<TableClient> {
  const request = get({ port, path: '/v1/sse?filter=stock/%2B&from=last' });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const steps: Step[] = [];
  let rest = '';
  response.setEncoding('utf8').on('data', (text: string) => {
    const blocks = (rest + text).split('\n\n');
    rest = blocks.pop()!;
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (data !== undefined) steps.push(JSON.parse(data) as Step);
    }
  });
  return {
    name: 'SSE',
    pause: () => response.pause(),
    resume: () => response.resume(),
    steps,
    close: () => request.destroy(),
  };
}

async function overWebSocket(port: number): Promise<TableClient> {
  const client = await WsClient.open(port);
  const steps: Step[] = [];
  client.socket.on('message', data => {
    const frame = JSON.parse(String(data)) as Frame;
    steps.push(...(frame.type === 'messages' ? (frame.messages as Row[]) : [frame]));
  });
  client.send({ type: 'subscribe', ref: 1, subscriptions: [{ filter: 'stock/+', from: 'last' }] });
  await client.answer(1);
  return {
    name: 'WebSocket',
    pause: () => client.socket.pause(),
    resume: () => client.socket.resume(),
    steps,
    close: () => client.close(),
  };
}

const isRow = (step: Step): step is Row => 'offset' in step && 'key' in step;
const told = (client: TableClient, type: string): number =>
  client.steps.filter(step => 'type' in step && step.type === type).length;
const nameOf = ({ topic, key }: Row): string => `${topic} ${key}`;

/** What a client holds that applies what it is told in order; fails when a record comes twice or out of order. */
function tableOf(client: TableClient): Map<string, Row> {
  const table = new Map<string, Row>();
  let newest = 0;
  for (const step of client.steps) {
    if ('type' in step && step.type === 'reset') {
      table.clear();
      newest = 0;
    }
    if (!isRow(step)) continue;
    expect(step.offset).toBeGreaterThan(newest);
    newest = step.offset;
    if (step.data === undefined) table.delete(nameOf(step));
    else table.set(nameOf(step), step);
  }
  return table;
}

describe.each([
  ['while deletions stay', 24 * 60 * 60 * 1000],
  ['while deletions go too', 0],
])('a snapshot that is read slowly, %s', (_, tombstoneAge) => {
  const random = new SeededRandom(11);
  let data: string;
  let server: Awaited<ReturnType<typeof startServer>>;
  let newestKey: number;

  beforeEach(async () => {
    data = temporaryDirectory();
    newestKey = keys;
    const config = createConfig({
      data,
      port: 0,
      rules: [{ filter: 'stock/#', keep: { lastPerKey: true } }],
      segment: { bytes: 1024 * 1024 },
      hot: { bytes: 64 * 1024 },
      limits: { message: 16 * 1024 },
      log: { level: 'silent' },
    });
    server = await startServer({ ...config, tombstone: { age: tombstoneAge } });
  });
  afterEach(() => server.close());

  async function publish(messages: readonly object[]): Promise<void> {
    const response = await fetch(`http://127.0.0.1:${server.address.port}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: messages.map(message => `${JSON.stringify(message)}\n`).join(''),
    });
    expect(JSON.parse((await response.text()).trimEnd().split('\n').at(-1)!)).toMatchObject({
      done: true,
      accepted: messages.length,
    });
  }

  const row = (i: number, value?: string): object => ({
    topic: `stock/${i % 3}`,
    key: `k${i}`,
    ...(value === undefined ? {} : { data: value + filler }),
  });

  /** Sets, deletes and adds keys all over the table. */
  async function change(round: number): Promise<void> {
    const messages = Array.from({ length: keys / 4 }, () => {
      const i = random.below(newestKey);
      return random.chance(0.4) ? row(i) : row(i, `${round} `);
    });
    for (let i = 0; i < 50; i++) messages.push(row(newestKey++, 'new '));
    await publish(messages);
  }

  async function state(): Promise<Map<string, Row>> {
    const response = await fetch(`http://127.0.0.1:${server.address.port}/v1/state?filter=stock/%2B`);
    const lines = (await response.text()).trimEnd().split('\n');
    expect(JSON.parse(lines.pop()!)).toMatchObject({ done: true });
    return new Map(lines.map(line => JSON.parse(line) as Row).map(each => [nameOf(each), each]));
  }

  test('ends in the table as it is, whatever was changed, deleted and compacted meanwhile', async () => {
    const { log, hub } = server.server;
    for (let i = 0; i < keys; i += 500) await publish(Array.from({ length: 500 }, (__, k) => row(i + k, 'old ')));
    const clients = [await overSse(server.address.port), await overWebSocket(server.address.port)];
    for (let round = 0; round < rounds; round++) {
      for (const client of clients) client.pause();
      await until(() => hub.catchUp.lagging.size === clients.length, 'both wait for their clients');
      await change(round);
      const compacted = await (log as DiskLog).compact();
      expect(compacted.segments).toBeGreaterThan(0);
      expect(compacted.records).toBeGreaterThan(0);
      // neither has come to the end of what it began with
      expect(clients.map(client => told(client, 'live'))).toEqual([0, 0]);
      const before = clients.map(client => client.steps.length);
      for (const client of clients) client.resume();
      await until(() => clients.every((client, i) => client.steps.length > before[i]!), 'each reads a little');
    }
    expect(readdirSync(data).some(name => /\.000[2-9]\.log$/.test(name))).toBe(true);
    const end = log.head.offset;
    for (const client of clients)
      await until(
        () => told(client, 'live') > 0 && client.steps.findLast(isRow)?.offset === end,
        `offset ${end} over ${client.name}`,
        patienceMs,
      );
    const table = await state();
    for (const client of clients) {
      expect(tableOf(client), client.name).toEqual(table);
      client.close();
    }
  }, 180_000);
});
