import { AclOperations, AclPermissionTypes, ResourcePatternTypes, ResourceTypes } from '@platformatic/kafka';
import { filterSet } from '@tailrace/protocol';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type BridgeRule, openBridge } from '../../src/engines/bridge/open-bridge.ts';
import { readAddress } from '../../src/engines/kafka/address.ts';
import { KafkaCluster } from '../../src/engines/kafka/cluster.ts';
import { type Log, openMemoryLog, wovenOf } from '../../src/log/index.ts';
import type { LogRecord } from '../../src/log/record.ts';
import type { LogReport } from '../../src/log/report.ts';
import { message, readAllOf, until } from '../log/messages.ts';
import { type Compression, KafkaProducers } from './kafka-producers.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

const textOf = ({ data }: LogRecord): string => Buffer.from(data).toString();
const named = (record: LogRecord): string => `${record.topic} ${textOf(record)}`;

/** Whoever comes by the other listener has a user, and may do what it was given. */
const properties = {
  'log.cleaner.backoff.ms': '200',
  'log.cleaner.min.compaction.lag.ms': '0',
  'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
  'super.users': 'User:ANONYMOUS',
  'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT',
  'sasl.enabled.mechanisms': 'PLAIN',
  'listener.name.proxied.plain.sasl.jaas.config':
    'org.apache.kafka.common.security.plain.PlainLoginModule required user_reader="secret";',
};

withKafka('topics of other systems in Kafka', () => {
  let server: KafkaServer;
  let others: KafkaProducers;
  let made = 0;
  const cleanup: (() => Promise<unknown>)[] = [];
  const reports: LogReport[] = [];

  beforeAll(async () => {
    server = await KafkaServer.start({ properties });
    await allowTransactions(server);
    others = new KafkaProducers(server);
  }, 60_000);

  afterAll(async () => {
    await others[Symbol.asyncDispose]();
    await server.stop('SIGKILL');
  });

  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
    reports.length = 0;
  });

  async function topic(partitions = 1, settings: Readonly<Record<string, string>> = {}): Promise<string> {
    const name = `orders-${++made}`;
    await others.create(name, partitions, settings);
    return name;
  }

  async function open(
    rules: readonly BridgeRule[],
    more: { readonly hotBytes?: number; readonly tables?: string } = {},
  ): Promise<Log> {
    const { hotBytes, tables } = more;
    const keep = tables === undefined ? undefined : { rules: [{ filter: tables, lastPerKey: true as const }] };
    const common = { hotBytes, keep, onReport: (report: LogReport) => reports.push(report) };
    const bridged = await openBridge({ ...common, url: server.url, rules });
    const log = wovenOf([openMemoryLog(common)], { hotBytes, bridged });
    cleanup.push(() => log.close());
    return log;
  }

  /** All that a subscriber gets who begins at the beginning. */
  async function all(log: Log, filter = '#'): Promise<LogRecord[]> {
    const { offset } = await log.places.beginning(0);
    return readAllOf(log, [filter], offset, log.head.offset, 1e6);
  }

  test('a record arrives as what it was: topic by key, JSON, text or bytes, time, headers, tombstone', async () => {
    const from = await topic();
    const log = await open([{ from: `kafka:${from}`, to: 'orders/{key}' }]);
    const time = 1_700_000_000_123;
    await others.produce(from, [
      {
        key: '42',
        value: '{"paid":true}',
        time,
        headers: { 'Trace-Id': 'abc', bad_name: 'x', '!': 'y', raw: Buffer.of(255) },
      },
      { key: 'a/b', value: 'hello', time: time - 5 },
      { key: Buffer.of(0, 0, 255), value: Buffer.of(1, 2, 255) },
      { value: ' [1] ' },
      { key: '42', value: null },
      { key: '..', value: 'tru' },
    ]);
    await until('all have come', () => log.hot.bytes > 0 && log.head.offset >= log.hot.base + 6);
    const live = await readAllOf(log, ['#'], log.hot.base, log.head.offset);
    expect(live.map(record => record.topic)).toEqual([
      'orders/42',
      'orders/a%2Fb',
      'orders/%00%00%FF',
      'orders',
      'orders/42',
      'orders/%2E%2E',
    ]);
    expect(live.map(({ contentType }) => contentType)).toEqual([
      undefined,
      'text/plain',
      'application/octet-stream',
      undefined,
      undefined,
      'text/plain',
    ]);
    expect(live.map(({ key }) => key)).toEqual(['42', 'a/b', '%00%00%FF', undefined, '42', '..']);
    expect(live.map(({ partitionOffset }) => partitionOffset)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(live.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5].map(offset => `${from}/0/${offset}`));
    expect(live.slice(0, 2).map(record => record.time)).toEqual([time, time - 5]);
    expect({ ...live[0]!.headers }).toEqual({ 'trace-id': 'abc', 'bad-name': 'x' });
    expect(live.map(textOf)).toEqual(['{"paid":true}', 'hello', '\u0001\u0002\ufffd', ' [1] ', '', 'tru']);
    // what is read from Kafka is the same as what came
    const cold = await open([{ from: `kafka:${from}`, to: 'orders/{key}' }]);
    const history = await all(cold);
    expect(history.map(({ offset: _, ...rest }) => ({ ...rest, headers: { ...rest.headers } }))).toEqual(
      live.map(({ offset: _, ...rest }) => ({ ...rest, headers: { ...rest.headers } })),
    );
  });

  test.each<Compression>(['none', 'gzip', 'snappy', 'lz4', 'zstd'])('compressed by %s', async compression => {
    const from = await topic();
    const values = Array.from({ length: 500 }, (_, i) => `{"n":${i},"text":"${'x'.repeat(i)}"}`);
    await others.produce(
      from,
      values.slice(0, 250).map(value => ({ key: 'k', value })),
      compression,
    );
    const log = await open([{ from: `kafka:${from}`, to: 'prices' }]);
    await others.produce(
      from,
      values.slice(250).map(value => ({ value })),
      compression,
    );
    await until('all have come', async () => (await all(log)).length === 500);
    expect((await all(log)).map(textOf)).toEqual(values);
  });

  test('of transactions only what is committed is given, in order, and only once it is', async () => {
    const from = await topic();
    await others.produce(from, [{ value: '1' }]);
    await others.transaction(from, [{ value: '2' }, { value: '3' }], true);
    await others.transaction(from, [{ value: 'void' }], false);
    const log = await open([{ from: `kafka:${from}`, to: 'prices' }]);
    const expected = ['1', '2', '3'];
    expect((await all(log)).map(textOf)).toEqual(expected);
    const open1 = others.open(`open-${made}`);
    const transaction = await open1.beginTransaction();
    await transaction.send({ messages: [{ topic: from, partition: 0, value: Buffer.from('5') }] as never[], acks: -1 });
    await others.produce(from, [{ value: '6' }]);
    await others.transaction(from, [{ value: 'void' }], false);
    expect((await all(log)).map(textOf)).toEqual(expected);
    await transaction.commit();
    await until('the rest has come', async () => (await all(log)).length === 5);
    expect((await all(log)).map(textOf)).toEqual([...expected, '5', '6']);
    await until('the tail is at the end', () => log.bridge!.tails.every(({ records }) => records === 0));
  });

  test('several partitions: order in each, cursors over other nodes and restarts, by time and newest', async () => {
    const from = await topic(3);
    const rules = [{ from: `kafka:${from}`, to: 'prices' }];
    const produce = async (begin: number, end: number): Promise<void> => {
      for (let i = begin; i < end; i++)
        await others.produce(from, [
          { key: `${i}`, value: `${i}`, partition: i % 3, time: 1_700_000_000_000 + i * 1000 },
        ]);
    };
    await produce(0, 30);
    const first = await open(rules);
    const half = await readAllOf(first, ['prices'], (await first.places.beginning(0)).offset, first.head.offset, 1e6);
    expect(half.map(textOf).sort((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 30 }, (_, i) => `${i}`),
    );
    await produce(30, 36);
    await until('all have come', async () => (await all(first)).length === 36);
    // each place of one node is good at another one with another log
    const records = await all(first);
    const second = await open(rules);
    for (const at of [0, 7, 12, 29, 33]) {
      const { offset, time } = records[at]!;
      const found = await second.tokens.resolve(first.tokens.of(offset, time), filterSet(['prices']));
      expect(found.fits).toBe(true);
      const rest = await readAllOf(second, ['prices'], found.fits ? found.at.offset : -1, second.head.offset, 1e6);
      const seen = records.slice(0, at + 1).map(textOf);
      expect([...seen, ...rest.map(textOf)].sort((a, b) => Number(a) - Number(b))).toEqual(
        Array.from({ length: 36 }, (_, i) => `${i}`),
      );
    }
    const since = await second.positionAt(1_700_000_000_000 + 20_000);
    const later = await readAllOf(second, ['prices'], since.offset, second.head.offset, 1e6);
    expect(later.map(textOf).sort()).toEqual(Array.from({ length: 16 }, (_, i) => `${i + 20}`));
    const newest = await second.newest(filterSet(['#']), 4, second.head.offset);
    expect((await second.recordsAt(newest, 1e6)).map(textOf).sort()).toEqual(['32', '33', '34', '35']);
    expect(await second.topics('', '', 10)).toMatchObject([{ topic: 'prices', lastTime: 1_700_000_000_000 + 35_000 }]);
  });

  test('nothing is appended to them; the log beside them takes what it took', async () => {
    const from = await topic();
    const log = await open([{ from: `kafka:${from}`, to: 'orders/{key}' }]);
    expect(log.bridge!.has('orders/42')).toBe(true);
    expect(log.bridge!.has('orders')).toBe(true);
    expect(log.bridge!.has('others/42')).toBe(false);
    await expect(log.deleteTopic('orders/42')).rejects.toMatchObject({ code: 'unsupported' });
    await log.append([message('others/42', '"own"')], 'written');
    await others.produce(from, [{ key: '1', value: '"theirs"' }]);
    await until('both have come', async () => (await all(log)).length === 2);
    expect((await all(log)).map(named).sort()).toEqual(['orders/1 "theirs"', 'others/42 "own"']);
  });

  test('from=last, keys of a table and topics are found though nothing was read at the start', async () => {
    const from = await topic(2);
    for (let i = 0; i < 40; i++)
      await others.produce(from, [{ key: `${i % 5}`, value: `${i}`, partition: (i % 5) % 2 }]);
    await others.produce(from, [{ key: '4', value: null, partition: 0 }]);
    const log = await open([{ from: `kafka:${from}`, to: 'state' }], { tables: 'state' });
    const { offsets } = await log.current(filterSet(['state']));
    expect((await log.recordsAt(offsets, 1e6)).map(textOf).sort()).toEqual(['35', '36', '37', '38']);
    const at = await log.keyAt('state', '3');
    expect((await log.recordsAt(Float64Array.of(at), 1)).map(textOf)).toEqual(['38']);
    expect(await log.keyAt('state', '4')).toBe(0);
    const keyed = await open([{ from: `kafka:${from}`, to: 'by/{partition}/{key}' }]);
    expect((await keyed.topics('', '', 10)).map(info => info.topic)).toEqual([
      'by/0/0',
      'by/0/2',
      'by/0/4',
      'by/1/1',
      'by/1/3',
    ]);
    const last = await keyed.newest(filterSet(['by/0/#']), 2, keyed.head.offset);
    expect((await keyed.recordsAt(last, 1e6)).map(named)).toEqual([
      'by/0/0 30',
      'by/0/2 32',
      'by/0/0 35',
      'by/0/2 37',
      'by/0/4 39',
      'by/0/4 ',
    ]);
  });

  test('what compaction took is told', async () => {
    const from = await topic(1, {
      'cleanup.policy': 'compact',
      'segment.ms': '100',
      'min.cleanable.dirty.ratio': '0.001',
      'max.compaction.lag.ms': '100',
    });
    const rules = [{ from: `kafka:${from}`, to: 'orders/{key}' }];
    const before = await open(rules);
    const { offset, time } = await before.places.beginning(0).then(place => ({ ...place, time: 0 }));
    const token = before.tokens.of(offset, time);
    for (let i = 0; i < 60; i++) await others.produce(from, [{ key: `${i % 3}`, value: `${i}` }]);
    let log = await open(rules, { hotBytes: 1 });
    await until(
      'Kafka has compacted',
      async () => {
        await others.produce(from, [{ key: 'more', value: 'x' }]);
        await log.close();
        log = await open(rules, { hotBytes: 1 });
        return (await all(log, 'orders/+')).filter(record => record.topic !== 'orders/more').length < 40;
      },
      60_000,
    );
    const found = await log.tokens.resolve(token, filterSet(['orders/#']));
    expect(found.fits).toBe(true);
    const slice = await log.read(found.fits ? found.at.offset : -1, log.head.offset, filterSet(['orders/#']), 1e6);
    expect(slice.dropped.records).toBeGreaterThan(0);
    expect(slice.records.map(textOf)).toEqual(expect.arrayContaining(['57', '58', '59']));
  }, 90_000);

  test('what retention took is told, and a topic made anew is another', async () => {
    const from = await topic();
    const rules = [{ from: `kafka:${from}`, to: 'orders/{key}' }];
    const filters = filterSet(['orders/#']);
    const log = await open(rules);
    await others.produce(
      from,
      [1, 2, 3, 4].map(i => ({ key: 'k', value: `${i}` })),
    );
    await until('all have come', async () => (await all(log)).length === 4);
    const records = await all(log);
    const tokens = records.map(record => log.tokens.of(record.offset, record.time));
    await others.admin.deleteRecords({ topics: [{ name: from, partitions: [{ partition: 0, offset: 3n }] }] } as never);
    await until('the floor is seen', () => log.removals > 0);
    const cold = await open(rules);
    const places = await Promise.all(
      tokens.map(async token => {
        const found = await cold.tokens.resolve(token, filters);
        return found.fits ? cold.places.isTrimmed(found.at.offset) : undefined;
      }),
    );
    expect(places).toEqual([true, true, false, false]);

    await others.admin.deleteTopics({ topics: [from] });
    await until('it is made anew', async () =>
      others.create(from).then(
        () => true,
        () => false,
      ),
    );
    await others.produce(from, [
      { key: 'k', value: 'new' },
      { key: 'k', value: 'newer' },
    ]);
    await until('the old node has noticed', async () => (await all(log)).map(textOf).join() === 'new,newer');
    for (const node of [log, await open(rules)]) {
      const found = await node.tokens.resolve(tokens[3]!, filters);
      expect(found).toMatchObject({ fits: false, reason: 'epoch' });
      const good = found.fits ? undefined : found.lastGood;
      const rest = await readAllOf(node, ['orders/#'], good, node.head.offset, 1e6);
      expect(rest.map(textOf)).toEqual(['new', 'newer']);
    }
  }, 60_000);

  test('partitions that a topic gains are told, and after a restart old cursors go on with all of them', async () => {
    const from = await topic(2);
    const rules = [
      { from: `kafka:${await topic()}`, to: 'first/{key}' },
      { from: `kafka:${from}`, to: 'orders/{key}' },
    ];
    const log = await open(rules);
    await others.produce(from, [{ key: 'a', value: '1', partition: 1 }]);
    await until('it has come', async () => (await all(log)).length === 1);
    const [record] = await all(log);
    const token = log.tokens.of(record!.offset, record!.time);
    await others.admin.createPartitions({ topics: [{ name: from, count: 3 }] } as never);
    await until('it is told', () => reports.some(({ kind }) => kind === 'bridge_grown'));
    await others.produce(from, [{ key: 'b', value: '2', partition: 2, time: 1_600_000_000_000 }]);
    await others.produce(from, [{ key: 'b', value: '3', partition: 0 }]);
    const again = await open([...rules].reverse());
    const found = await again.tokens.resolve(token, filterSet(['orders/#']));
    expect(found.fits).toBe(true);
    const rest = await readAllOf(again, ['orders/#'], found.fits ? found.at.offset : -1, again.head.offset, 1e6);
    expect(rest.map(textOf).sort()).toEqual(['2', '3']);
  }, 60_000);

  test('a user who may only read them suffices; nothing is written, and there is no consumer group', async () => {
    const from = await topic();
    const open = (): ReturnType<typeof openBridge> =>
      openBridge({
        url: `kafka://reader:secret@127.0.0.1:${server.proxiedPort}`,
        rules: [{ from: `kafka:${from}`, to: 'prices' }],
        startTimeout: 3000,
      });
    await expect(open()).rejects.toThrow(/not.*(see it|authorized)/i);
    const { TOPIC } = ResourceTypes;
    const of = { resourceType: TOPIC, resourceName: from, resourcePatternType: ResourcePatternTypes.LITERAL };
    const who = { principal: 'User:reader', host: '*', permissionType: AclPermissionTypes.ALLOW };
    await others.admin.createAcls({ creations: [{ ...of, ...who, operation: AclOperations.READ }] });
    await others.produce(from, [{ value: '1' }]);
    let bridged: Awaited<ReturnType<typeof openBridge>> | undefined;
    await until('the right has come', () =>
      open().then(
        opened => {
          bridged = opened;
          return true;
        },
        () => false,
      ),
    );
    const log = wovenOf([openMemoryLog({})], { bridged });
    cleanup.push(() => log.close());
    await others.produce(from, [{ value: '2' }]);
    await until('both have come', async () => (await all(log)).length === 2);
    expect((await all(log)).map(named)).toEqual(['prices 1', 'prices 2']);
    expect([...(await others.admin.listGroups()).keys()]).toEqual([]);
  }, 60_000);

  test('a topic that is not there is named at the start', async () => {
    await expect(openBridge({ url: server.url, rules: [{ from: 'kafka:none', to: 'a' }] })).rejects.toThrow(
      /there is no topic none.*bridge\[0\]\.from/,
    );
  });
});

/** A broker that was begun without the format tool has them as they were years ago. */
async function allowTransactions(server: KafkaServer): Promise<void> {
  const cluster = new KafkaCluster(readAddress(server.url, 'plain'));
  const { reader } = cluster;
  const wanted = [{ feature: 'transaction.version', maxVersionLevel: 2, upgradeType: 1 }];
  await reader.ask(await reader.connect(), 'UpdateFeatures', () => [5000, wanted, false]);
  await cluster.close();
}
