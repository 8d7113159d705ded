import { type FilterSet, filterSet, type Message } from '@tailrace/protocol';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { BrokerLog } from '../../src/engines/broker/broker-log.ts';
import { type KafkaLogOptions, openKafkaLog, openKafkaPartitions } from '../../src/engines/kafka/kafka-log.ts';
import type { Log } from '../../src/log/log.ts';
import type { LogRecord } from '../../src/log/record.ts';
import { message, offsetOf, readAllOf, until } from '../log/messages.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { KafkaAdmin } from './kafka-admin.ts';
import { KafkaServer } from './kafka-server.ts';
import { catchesUp } from './lagging-tail.ts';
import { isOvertaken } from './overtaken.ts';
import { publishAll } from './publish-all.ts';
import { withKafka } from './with-kafka.ts';

const everything: FilterSet = filterSet(['#']);

function textOf({ data }: LogRecord): string {
  return Buffer.from(data).toString();
}

async function textsOf(log: BrokerLog, filter = '#'): Promise<string[]> {
  return (await readAllOf(log, [filter], log.floor, log.head.offset, 1e6)).map(textOf);
}

withKafka('faults of Kafka', () => {
  let proxy: FaultyProxy;
  let server: KafkaServer;
  let made = 0;
  let name: string;
  const cleanup: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    proxy = await FaultyProxy.start(0);
    server = await KafkaServer.start({ proxyPort: proxy.port });
    proxy.target = server.proxiedPort;
  });

  afterAll(async () => {
    await server.stop('SIGKILL');
    await proxy.close();
  });

  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
    proxy.swallowAnswers = false;
    proxy.resume();
  });

  const fresh = (): string => (name = `faults-${++made}`);

  async function open(options: Partial<KafkaLogOptions> = {}): Promise<BrokerLog> {
    const log = await openKafkaLog({ url: server.url, name, ...options });
    cleanup.push(() => log.close());
    return log;
  }

  const openProxied = (): Promise<BrokerLog> => open({ url: `kafka://127.0.0.1:${proxy.port}` });

  /** What every node holds is the same, and so is what is read without any memory. */
  async function expectAlike(...logs: BrokerLog[]): Promise<LogRecord[]> {
    const newest = Math.max(...logs.map(({ head }) => head.offset));
    await until('all have come to the head', () => logs.every(({ head }) => head.offset >= newest));
    const all = await readAllOf(logs[0]!, ['#'], 0, newest, 1e6);
    for (const log of [...logs, await open({ hotBytes: 1 })])
      for (const bytes of [1e6, 3000]) {
        const read = await readAllOf(log, ['#'], 0, newest, bytes);
        expect(read.map(record => [record.offset, record.time, textOf(record)])).toEqual(
          all.map(record => [record.offset, record.time, textOf(record)]),
        );
      }
    return all;
  }

  test('nodes decide ids, sequences, expectations and ends alike, each once, at the same moment', async () => {
    fresh();
    const logs = [await open(), await open(), await open({ hotBytes: 1 })];
    const everywhere = (one: Message): Promise<readonly unknown[]> =>
      Promise.all(logs.map(async log => (await log.append([one], 'fsync'))[0]));
    const taken = (results: readonly unknown[]): number =>
      results.filter(result => (result as { duplicate?: boolean }).duplicate === false).length;
    const noise = Promise.all(
      logs.map((log, i) =>
        publishAll(
          log,
          Array.from({ length: 200 }, (_, n) => message(`noise/${i}`, `${i} ${n}`)),
        ),
      ),
    );
    let newest = 0;
    for (let round = 0; round < 40; round++) {
      const ofId = await everywhere(message('ids', `${round}`, { id: `id-${round}` }));
      expect(taken(ofId)).toBe(1);
      expect(new Set(ofId.map(result => (result as { offset: number }).offset)).size).toBe(1);
      expect(taken(await everywhere(message('sequences', `${round}`, { producer: 'p', sequence: round })))).toBe(1);
      const compared = await everywhere(message('state', `${round}`, { key: 'k', expect: newest }));
      expect(taken(compared)).toBe(1);
      for (const result of compared)
        if ('error' in (result as object)) expect(result).toMatchObject({ error: { code: 'expect_failed' } });
      newest = (compared.find(result => 'offset' in (result as object)) as { offset: number }).offset;
      await Promise.all(
        logs.map((log, i) =>
          log.append([message(`ends/${round}`, `${i}`, { end: i === 1 }), message('after')], 'fsync'),
        ),
      );
    }
    await noise;
    const all = await expectAlike(...logs);
    for (const topic of ['ids', 'sequences', 'state'])
      expect(all.filter(record => record.topic === topic).map(textOf)).toEqual(
        Array.from({ length: 40 }, (_, i) => `${i}`),
      );
    for (let round = 0; round < 40; round++) {
      const inTopic = all.filter(({ topic }) => topic === `ends/${round}`);
      expect(inTopic.findIndex(({ end }) => end)).toBe(inTopic.length - 1);
      expect(logs.map(log => log.endedAt(`ends/${round}`))).toEqual(Array(3).fill(inTopic.at(-1)!.offset));
    }
    expect([...(await logs[2]!.newest(everything, 1, Number.POSITIVE_INFINITY))].length).toBe(47);
  });

  test('an append of several stops at the message that another node overtook, on every node', async () => {
    fresh();
    const logs = [await open(), await open()];
    let later = 0;
    for (let round = 0; round < 60; round++) {
      const results = await Promise.all(
        logs.map((log, i) =>
          log.append(
            [
              message('first', `${round} ${i}`),
              message('key', `${round} ${i}`, { key: `${round}`, expect: 0 }),
              message('last', `${round} ${i}`),
            ],
            'fsync',
          ),
        ),
      );
      expect(results.map(({ length }) => length).sort()).toEqual([2, 3]);
      later += results.findIndex(({ length }) => length === 3);
    }
    const all = await expectAlike(...logs);
    expect(all.filter(({ topic }) => topic === 'first')).toHaveLength(120);
    const winners = all.filter(({ topic }) => topic === 'key').map(textOf);
    expect(winners).toHaveLength(60);
    expect(all.filter(({ topic }) => topic === 'last').map(textOf)).toEqual(winners);
    expect(later).toBeGreaterThanOrEqual(0);
  });

  test('a broker that is killed under two publishing nodes has lost nothing acked, and nothing is doubled', async () => {
    fresh();
    const logs = [await open(), await open()];
    const messages = logs.map((_, node) =>
      Array.from({ length: 150 }, (_, i) => message(`t/${i % 7}`, `${node} ${i}`)),
    );
    let acked = 0;
    const publishing = Promise.all(logs.map((log, node) => publishAll(log, messages[node]!, () => acked++)));
    await until('some are acked', () => acked > 50);
    await server.stop('SIGKILL');
    await server.start();
    await publishing;
    const all = await expectAlike(...logs);
    for (const node of [0, 1])
      expect(all.map(textOf).filter(text => text.startsWith(`${node} `))).toEqual(
        messages[node]!.map(({ data }) => Buffer.from(data).toString()),
      );
    expect(logs.map(({ rewinds }) => rewinds)).toEqual([0, 0]);
    // a restart begins an epoch; who stood anywhere before goes on
    const [log] = logs;
    expect(log!.head.epoch).toBeGreaterThan(log!.epochOf(1));
    expect(log!.endOf(log!.epochOf(1))).toBeGreaterThan(50);
  });

  test('a broker that hangs is left and found again; what waits is appended once, in order', async () => {
    fresh();
    const log = await open();
    await log.append([message('a', 'before')], 'fsync');
    server.signal('SIGSTOP');
    const appended = Array.from({ length: 20 }, (_, i) => log.append([message('a', `${i}`)], 'fsync'));
    await expect(log.probes[0]!.run()).rejects.toThrow();
    await until('its tail is stuck', () =>
      log.probes[1]!.run().then(
        () => false,
        () => true,
      ),
    );
    server.signal('SIGCONT');
    expect((await Promise.all(appended)).map(([result]) => offsetOf(result))).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 2),
    );
    await expectAlike(log);
    await until('the probes pass again', async () => {
      for (const probe of log.probes) await probe.run();
      return true;
    });
  });

  test('an append whose answer is lost counts once', async () => {
    fresh();
    const log = await openProxied();
    const other = await open();
    await log.append([message('a', 'before')], 'fsync');
    for (let round = 0; round < 3; round++) {
      const before = other.head.offset;
      proxy.swallowAnswers = true;
      const appended = log.append([message('a', `${round}`), message('a', `${round} again`)], 'fsync');
      await until('the broker has it', () => other.head.offset > before + 1);
      proxy.swallowAnswers = false;
      proxy.cut();
      expect((await appended).map(offsetOf)).toHaveLength(2);
    }
    expect(await textsOf(log)).toEqual(['before', '0', '0 again', '1', '1 again', '2', '2 again']);
    await expectAlike(log, other);
  });

  test('connections that are reset and stalled under publishes lose and double nothing', async () => {
    fresh();
    const [log, other] = [await openProxied(), await open()];
    const messages = Array.from({ length: 200 }, (_, i) => message(`t/${i % 3}`, `${i}`));
    let acked = 0;
    const publishing = publishAll(log, messages, () => {
      acked++;
      if (acked % 20 === 0) proxy.cut();
      if (acked === 100) proxy.hold();
    });
    await publishing;
    expect((await expectAlike(log, other)).map(textOf)).toEqual(messages.map((_, i) => `${i}`));
  });

  test('a log is closed in time although the broker hangs; what waits is told that nobody knows', async () => {
    fresh();
    const log = await open();
    await log.append([message('a', 'one')], 'fsync');
    server.signal('SIGSTOP');
    const refused = expect(log.append([message('a', 'two')], 'fsync')).rejects.toMatchObject({
      code: 'outcome_unknown',
    });
    await log.close();
    await refused;
    server.signal('SIGCONT');
  });

  test('a node that retention overtook sends its subscribers back to their cursors, which tells them', async () => {
    fresh();
    const [behind, other] = [await openProxied(), await open()];
    await isOvertaken(behind, other, proxy);
    expect((await behind.append([message('a', 'own')], 'fsync')).map(offsetOf)).toEqual([53]);
  });

  test('a request that is full of small records is no larger than the topic takes', async () => {
    fresh();
    const log = await open({ compression: 'none', recordBytes: 1000 });
    const small = Array.from({ length: 6000 }, () => message('a', 'x'.repeat(446)));
    expect((await log.append(small, 'fsync')).map(offsetOf)).toHaveLength(6000);
  });

  test('an entry that somebody else wrote is told once and passed over', async () => {
    fresh();
    const reports: string[] = [];
    const log = await open({ onReport: ({ kind }) => reports.push(kind) });
    const admin = new KafkaAdmin(server);
    cleanup.push(() => admin.close());
    await log.append([message('a', 'one')], 'fsync');
    await admin.write(name, 'not ours');
    await log.append([message('a', 'two')], 'fsync');
    expect(reports).toEqual(['damaged']);
    expect(log.lost).toEqual([{ from: 2, to: 2 }]);
    expect(await textsOf(log)).toEqual(['one', 'two']);
  });

  test('a topic that is deleted and made anew is another log, and everybody is told', async () => {
    fresh();
    const log = await open();
    const admin = new KafkaAdmin(server);
    cleanup.push(() => admin.close());
    await log.append(
      Array.from({ length: 20 }, (_, i) => message('a', `${i}`)),
      'fsync',
    );
    const { id } = log;
    let told = 0;
    log.tail({ onCommit: () => {}, onRewind: () => told++ });
    await admin.delete(name);
    const other = await open();
    const seen: number[] = [];
    log.tail({ onCommit: batch => seen.push(...[...batch.records()].map(({ offset }) => (told > 0 ? offset : -1))) });
    await other.append([message('b', 'first'), message('b', 'second')], 'fsync');
    await until('it is noticed', () => told > 0);
    expect(log.id).not.toBe(id);
    await until('it is at the head', () => log.head.offset === 2);
    expect((await log.append([message('b', 'anew', { id: 'x' })], 'fsync')).map(offsetOf)).toEqual([3]);
    // what was there when it began anew comes to who reads it, not to who listens
    expect(seen.filter(offset => offset <= 0)).toEqual([]);
    expect(await textsOf(log)).toEqual(['first', 'second', 'anew']);
    await expectAlike(log);
  });

  test('a tail that catches up shows how far it is behind, each partition its own', async () => {
    const nodes = [`kafka://127.0.0.1:${proxy.port}`, server.url];
    const name = fresh();
    const logs: Log[] = [];
    for (const url of nodes) {
      const log = await openKafkaPartitions({ url, name, partitions: 3 });
      logs.push(log);
      cleanup.push(() => log.close());
    }
    await catchesUp(logs[0]!, logs[1]!, proxy);
  }, 60_000);

  test('a topic that cannot keep what is promised is refused by name', async () => {
    const admin = new KafkaAdmin(server);
    cleanup.push(() => admin.close());
    await admin.create(fresh(), { 'cleanup.policy': 'compact' });
    await expect(open()).rejects.toThrow(/cleanup.policy=compact/);
    await admin.create(fresh(), { 'message.timestamp.type': 'LogAppendTime' });
    await expect(open()).rejects.toThrow(/LogAppendTime/);
    await admin.create(fresh(), { 'min.insync.replicas': '2' });
    await expect(open()).rejects.toThrow(/min.insync.replicas=2 and 1 replicas/);
    await admin.create(fresh(), { 'flush.messages': '1000' });
    await expect(open({ durability: 'fsync' })).rejects.toThrow(/durability is fsync/);
    expect((await open({ durability: 'written' })).capabilities.durabilities).toEqual(['written']);
    await expect(open({ url: 'kafka://127.0.0.1:1', startTimeout: 500 })).rejects.toThrow(/cannot be opened/);
  });
});
