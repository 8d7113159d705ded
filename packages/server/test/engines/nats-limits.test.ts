import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { expect, test } from 'vitest';
import type { BrokerLog } from '../../src/engines/broker/broker-log.ts';
import { packEntry } from '../../src/engines/broker/entry.ts';
import { Known } from '../../src/engines/broker/known.ts';
import { Pages } from '../../src/engines/broker/pages.ts';
import { KeptConnection } from '../../src/engines/nats/connection.ts';
import { JetStreamPartition } from '../../src/engines/nats/jetstream-partition.ts';
import { type NatsLogOptions, openNatsLog } from '../../src/engines/nats/nats-log.ts';
import { message, offsetOf, readAllOf, until } from '../log/messages.ts';
import { afterwards, opened, startNats, startProxy } from './for-one-test.ts';
import type { NatsServer } from './nats-server.ts';
import { isOvertaken } from './overtaken.ts';
import { withNats } from './with-nats.ts';

function open(port: number, options: Partial<NatsLogOptions> = {}): Promise<BrokerLog> {
  return opened(openNatsLog({ url: `nats://127.0.0.1:${port}`, synced: true, ...options }));
}

/** A node that has nothing of what there is in memory. */
async function openBeyondKeys(writer: BrokerLog, server: NatsServer): Promise<BrokerLog> {
  const log = await open(server.port, { hotBytes: 1 });
  const [result] = await writer.append([message('other')], 'fsync');
  await until('it is at the head', () => log.head.offset === offsetOf(result));
  return log;
}

function held(): number {
  if (gc === undefined) throw new Error('run with --expose-gc');
  gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

withNats('limits of what a node over NATS holds and misses', () => {
  test('a connection holds nothing of what was asked over it', async () => {
    const server = await startNats();
    const connection = new KeptConnection(server.url, 'test', () => {});
    afterwards(() => connection.close());
    const ask = async (times: number): Promise<void> => {
      for (let i = 0; i < times; i++) await connection.ask(() => Promise.resolve());
    };
    await ask(10_000);
    const before = held();
    await ask(50_000);
    expect((held() - before) / 1024 / 1024).toBeLessThan(5);
  });

  test('a node that retention overtook sends its subscribers back to their cursors, which tells them', async () => {
    const server = await startNats();
    const proxy = await startProxy(server);
    const [behind, other] = [await open(proxy.port), await open(server.port)];
    await isOvertaken(behind, other, proxy);
    expect((await readAllOf(behind, ['#'], behind.floor, behind.head.offset, 1e6)).map(({ offset }) => offset)).toEqual(
      Array.from({ length: 11 }, (_, i) => i + 42),
    );
  });

  test('what is removed under a reader that is slow is not left out without a sign', async () => {
    const server = await startNats();
    const proxy = await startProxy(server);
    const [slow, other] = [await open(proxy.port), await open(server.port)];
    const large = 'x'.repeat(256 * 1024);
    await other.append([message('a', 'before')], 'fsync');
    await until('both are at the head', () => slow.head.offset === 1);
    let told = 1;
    const missed: number[] = [];
    slow.tail({
      onCommit: batch => {
        for (const { offset } of batch.records()) {
          if (offset !== told + 1) missed.push(told + 1);
          told = offset;
        }
      },
      onRewind: () => (told = slow.head.offset),
    });
    proxy.hold();
    for (let i = 0; i < 60; i++) await other.append([message('a', large)], 'fsync');
    await other.trim(60);
    proxy.resume();
    await until('it has caught up', () => slow.head.offset === 61);
    await other.append([message('a', 'after')], 'fsync');
    await until('it goes on', () => told === 62);
    expect(missed).toEqual([]);
  });

  test('a message that was deleted by hand stops nobody', async () => {
    const server = await startNats();
    const log = await open(server.port);
    const nats = await connect({ servers: server.url });
    afterwards(() => nats.close());
    const proxy = await startProxy(server);
    const behind = await open(proxy.port);
    proxy.stall();
    for (let i = 0; i < 5; i++) await log.append([message('a', `${i}`)], 'fsync');
    await (await jetstreamManager(nats)).streams.deleteMessage('tailrace-0', 3);
    proxy.cut();
    proxy.resume();
    await until('it has caught up', () => behind.head.offset === 5);
    expect(behind.rewinds).toBe(0);
  });

  test('calls that wait for keys keep the order of each of their topics', async () => {
    const server = await startNats();
    const writer = await open(server.port);
    for (let i = 0; i < 20; i++) await writer.append([message('keys', `${i}`, { key: `${i}` })], 'fsync');
    const log = await openBeyondKeys(writer, server);
    const appended = await Promise.all([
      log.append([message('keys', 'x', { key: 'new', expect: 0 })], 'fsync'),
      log.append([message('keys', 'y'), message('b', 'first')], 'fsync'),
      log.append([message('b', 'second')], 'fsync'),
      log.append([message('c', 'free')], 'fsync'),
    ]);
    const offsets = appended.map(results => results.map(offsetOf));
    expect(offsets[2]![0]).toBeGreaterThan(offsets[1]![1]!);
  });

  test('a log is closed in time while NATS is away and a publish waits for keys', async () => {
    const server = await startNats();
    const writer = await open(server.port);
    for (let i = 0; i < 20; i++) await writer.append([message('keys', `${i}`, { key: `${i}` })], 'fsync');
    const log = await openBeyondKeys(writer, server);
    await server.stop('SIGKILL');
    const waiting = [
      log.append([message('b', 'x')], 'fsync'),
      log.append([message('keys', 'y', { key: 'k', expect: 0 })], 'fsync'),
    ];
    const told = Promise.all(waiting.map(one => one.catch(({ code }: { code: string }) => code)));
    await log.close();
    expect(await told).toEqual(['outcome_unknown', 'draining']);
  });

  test('a topic that ended long ago is learnt of although somebody else wrote to the stream', async () => {
    const server = await startNats();
    const writer = await open(server.port);
    await writer.append([message('over', 'last', { end: true })], 'fsync');
    const nats = await connect({ servers: server.url });
    afterwards(() => nats.close());
    await nats.request('tailrace.0.somebody', 'not ours');
    // a start reads 131,072 entries
    for (let i = 0; i < 70; i++)
      await writer.append(
        Array.from({ length: 2000 }, () => message('noise')),
        'fsync',
      );
    const log = await open(server.port);
    await until('it has learnt of it', () => log.endedAt('over') === 1);
  });

  test('reads of large records, each judged long before it was appended, hold only some of them', async () => {
    const server = await startNats();
    const partition = new JetStreamPartition({ url: server.url });
    afterwards(() => partition.close());
    const { epoch } = (await partition.open()).epochs.at(-1)!;
    const [large, count, lag] = [message('a', 'x'.repeat(90_000)), 1200, 60];
    for (let first = 1; first <= count; first += 20)
      await partition.append(
        Array.from({ length: 20 }, (_, i) => {
          const number = first + i;
          const seen = Math.max(0, number - lag);
          const head = { node: 'aaaaaaaa', number, seen, epoch, isFirst: true, continues: false, isConditional: false };
          return { time: 1, bytes: packEntry(head, large) };
        }),
      );
    const known = new Known();
    known.take(await partition.state());
    const pages = new Pages(partition, known);
    const before = held();
    let records = 0;
    for (let after = 0; after < count; ) {
      const page = await pages.read(after, count, 1024 * 1024);
      records += page.records.length;
      after = page.next;
    }
    expect(records).toBe(count);
    expect((held() - before) / 1024 / 1024).toBeLessThan(90);
    pages.clear();
  });
});
