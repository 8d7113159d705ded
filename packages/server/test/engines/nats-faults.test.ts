import type { Message } from '@tailrace/protocol';
import { expect, test } from 'vitest';
import type { BrokerLog } from '../../src/engines/broker/broker-log.ts';
import { type NatsLogOptions, openNatsLog } from '../../src/engines/nats/nats-log.ts';
import type { LogReport } from '../../src/log/report.ts';
import type { Served } from '../cli/served.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { message, offsetOf, readAllOf, until } from '../log/messages.ts';
import { afterwards, opened, startNats, startNode, startProxy } from './for-one-test.ts';
import { publishAll } from './publish-all.ts';
import { withNats } from './with-nats.ts';

function open(port: number, options: Partial<NatsLogOptions> = {}): Promise<BrokerLog> {
  return opened(openNatsLog({ url: `nats://127.0.0.1:${port}`, synced: true, ...options }));
}

function numbered(count: number, topic: string): Message[] {
  return Array.from({ length: count }, (_, i) => message(topic, `${topic} ${i}`, { id: `${i}` }));
}

async function dataOf(log: BrokerLog, filter = '#'): Promise<string[]> {
  const records = await readAllOf(log, [filter], log.floor, log.head.offset, 1e6);
  return records.map(({ data }) => Buffer.from(data).toString());
}

/** Two nodes publish at once while `fault` happens; then each has everything once, and of each publisher in order. */
async function survives(nodes: readonly BrokerLog[], fault: () => Promise<void>): Promise<void> {
  const count = 150;
  const seen: number[] = [];
  nodes[0]!.tail({ onCommit: batch => seen.push(...Array.from(batch.records(), ({ offset }) => offset)) });
  let acked = 0;
  const publishing = nodes.map((node, i) => publishAll(node, numbered(count, `of-${i}`), () => acked++));
  await until('some are acked', () => acked > 30);
  await fault();
  await Promise.all(publishing);
  await until('all nodes are at the head', () => nodes.every(node => node.head.offset === nodes[0]!.head.offset));
  for (const node of nodes)
    for (const i of nodes.keys())
      expect(await dataOf(node, `of-${i}`)).toEqual(numbered(count, `of-${i}`).map(({ data }) => String(data)));
  expect(seen).toHaveLength(nodes.length * count);
  expect(seen.every((offset, i) => i === 0 || offset > seen[i - 1]!)).toBe(true);
  for (const node of nodes) expect(node.rewinds).toBe(0);
}

withNats('faults of NATS', () => {
  test('a server that is killed and comes back has lost nothing, and nothing is doubled', async () => {
    const server = await startNats();
    const nodes = [await open(server.port), await open(server.port)];
    const { epoch } = nodes[0]!.head;
    await survives(nodes, async () => {
      await server.stop('SIGKILL');
      await new Promise(resolve => setTimeout(resolve, 300));
      await server.start();
    });
    // a restart begins an epoch; who stood anywhere before goes on
    expect(nodes[0]!.head.epoch).toBeGreaterThan(epoch);
    expect(nodes[0]!.endOf(epoch)).toBeGreaterThan(0);
    expect(nodes[0]!.head.epoch).toBe(nodes[1]!.head.epoch);
  });

  test('a server that stops answering is left and found again', async () => {
    const server = await startNats();
    const nodes = [await open(server.port), await open(server.port)];
    await survives(nodes, async () => {
      server.signal('SIGSTOP');
      // longer than an answer may take: the connections are given up and made again
      await new Promise(resolve => setTimeout(resolve, 6500));
      server.signal('SIGCONT');
    });
  });

  test('a network that swallows, resets and stalls', async () => {
    const server = await startNats();
    const proxy = await startProxy(server);
    const nodes = [await open(proxy.port), await open(server.port)];
    await survives(nodes, async () => {
      proxy.swallowAnswers = true;
      await new Promise(resolve => setTimeout(resolve, 100));
      proxy.swallowAnswers = false;
      for (let i = 0; i < 5; i++) {
        proxy.cut();
        await new Promise(resolve => setTimeout(resolve, 40 * i));
      }
      proxy.hold();
      await until('the dead connections are given up', () => nodes[0]!.status.pendingRecords === 0);
      proxy.resume();
    });
  });

  test('what a power loss took is told, and what comes in its place is of another epoch', async () => {
    const server = await startNats();
    const reports: LogReport[] = [];
    const log = await open(server.port, { onReport: report => reports.push(report) });
    await log.append(numbered(5, 'kept'), 'fsync');
    await server.stop();
    const putBack = server.keep();
    await server.start();
    await log.append(numbered(5, 'lost'), 'fsync');
    const cursor = log.head;
    await server.stop('SIGKILL');
    putBack();
    await server.start();
    await until('it is noticed', () => log.rewinds === 1);
    expect(log.endOf(cursor.epoch) ?? 0).toBeLessThan(cursor.offset);
    const offsets = (await log.append(numbered(3, 'new'), 'fsync')).map(offsetOf);
    expect(offsets).toEqual([6, 7, 8]);
    expect(log.epochOf(6)).toBeGreaterThan(cursor.epoch);
    expect(await dataOf(log)).toEqual([...numbered(5, 'kept'), ...numbered(3, 'new')].map(({ data }) => String(data)));
    expect(reports.map(({ kind }) => kind)).toContain('engine_rewound');
    const late = await open(server.port);
    expect(late.id).toBe(log.id);
    expect(late.endOf(cursor.epoch) ?? 0).toBeLessThan(cursor.offset);
    expect(await dataOf(late)).toEqual(await dataOf(log));
  });

  test('a full server is told, and taken again when there is room', async () => {
    const server = await startNats('max_payload: 900KB');
    const log = await open(server.port, { retention: { bytes: undefined } });
    await log.append(numbered(3, 'before'), 'fsync');
    const client = await server.client();
    afterwards(() => client.close());
    const limit = async (max_bytes: number): Promise<void> => {
      const info = (await client.request('$JS.API.STREAM.INFO.tailrace-0')).json<{ config: object }>();
      const config = { ...info.config, max_bytes, discard: 'new' };
      const answer = await client.request('$JS.API.STREAM.UPDATE.tailrace-0', JSON.stringify(config));
      expect(answer.json()).not.toHaveProperty('error');
    };
    await limit(5000);
    await expect(log.append([message('a', 'x'.repeat(10_000))], 'fsync')).rejects.toMatchObject({ code: 'log_full' });
    expect(log.status.state).toBe('full');
    await limit(-1);
    await publishAll(log, numbered(2, 'after'));
    expect(log.status.state).toBe('open');
    expect((await dataOf(log)).length).toBe(5);
  });
});

withNats('two servers on one NATS', () => {
  async function publish(node: Served, topic: string, texts: readonly string[]): Promise<void> {
    for (const text of texts)
      for (;;) {
        const path = `/v1/topics/${topic}?id=${encodeURIComponent(text)}`;
        const answer = await fetch(node.url + path, { method: 'POST', body: text }).catch(() => undefined);
        if (answer?.ok) break;
        await new Promise(resolve => setTimeout(resolve, 50));
      }
  }

  const texts = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`);

  test('any node takes any publish, any client resumes on any node, and NATS may be killed meanwhile', async () => {
    const server = await startNats();
    const [a, b] = [await startNode(server.url, '--nats.synced'), await startNode(server.url, '--nats.synced')];
    const first = await SseClient.open(b.port, 'filter=chat/%2B&raw=1&from=earliest');
    await publish(a, 'chat/7', texts(20));
    await first.count(20);
    await server.stop('SIGKILL');
    // what there is comes from memory
    const history = await SseClient.open(a.port, 'filter=chat/%2B&raw=1&from=earliest');
    await history.count(20);
    const publishing = Promise.all([publish(a, 'chat/8', texts(40)), publish(b, 'chat/9', texts(40))]);
    await server.start();
    await first.count(60);
    expect(first.raw.ended).toBe(false);
    const at = first.lastId!;
    await b.kill('SIGKILL');
    await b.startAgain();
    await publishing;
    const got = first.messages.length;
    const second = await SseClient.open(a.port, 'filter=chat/%2B&raw=1', { 'last-event-id': first.lastId ?? at });
    await second.count(100 - got);
    expect(second.notices('subscribed')[0]).toMatchObject({ recovered: true });
    const all = [...first.messages, ...second.messages].map(({ data }) => data!);
    expect(all.slice(0, 20)).toEqual(texts(20));
    expect(all.slice(20).sort()).toEqual([...texts(40), ...texts(40)].sort());
  });
});
