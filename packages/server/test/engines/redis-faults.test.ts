import { filterSet, type Message, parseCursor } from '@tailrace/protocol';
import { expect, test } from 'vitest';
import { openRedisLog, type RedisLog, type RedisLogOptions } from '../../src/engines/redis/redis-log.ts';
import type { LogReport } from '../../src/log/report.ts';
import { PlainTokens } from '../../src/log/tokens.ts';
import { message, offsetOf, readAllOf, until } from '../log/messages.ts';
import { afterwards, opened, startProxy, startRedis } from './for-one-test.ts';
import { publishAll } from './publish-all.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

function open(url: string, options: Partial<RedisLogOptions> = {}): Promise<RedisLog> {
  return opened(openRedisLog({ url, ...options }));
}

function numbered(count: number, fields: (i: number) => Partial<Message> = () => ({})): Message[] {
  return Array.from({ length: count }, (_, i) => message(`t/${i % 7}`, `m${i}`, fields(i)));
}

async function dataOf(log: RedisLog): Promise<string[]> {
  return (await readAllOf(log, ['#'], log.floor, log.head.offset, 1e6)).map(({ data }) => Buffer.from(data).toString());
}

withRedis('faults of Redis', () => {
  test('nodes share one log: offsets, ids, sequences, expectations and ends are decided once', async () => {
    const server = await startRedis();
    const [a, b] = [await open(server.url), await open(server.url)];
    expect(b.id).toBe(a.id);
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? a : b).append([message('x', `${i}`)], 'fsync')),
    );
    expect(results.map(([result]) => offsetOf(result)).sort((x, y) => x - y)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    await until('both are at the head', () => a.head.offset === 100 && b.head.offset === 100);
    expect(await dataOf(a)).toEqual(await dataOf(b));

    const once = message('y', '1', { id: 'once' });
    const twice = await Promise.all([a, b, a, b].map(log => log.append([once], 'fsync')));
    expect(twice.filter(([result]) => 'duplicate' in result! && !result.duplicate)).toHaveLength(1);
    const sequenced = message('y', '1', { producer: 'p', sequence: 7 });
    const again = await Promise.all([a, b].map(log => log.append([sequenced], 'fsync')));
    expect(again.filter(([result]) => 'duplicate' in result! && result.duplicate)).toHaveLength(1);

    for (let round = 0, newest = 0; round < 10; round++) {
      const tries = await Promise.all(
        [a, b, a, b].map(log => log.append([message('state', `${round}`, { key: 'k', expect: newest })], 'fsync')),
      );
      const taken = tries.filter(([result]) => !('error' in result!));
      expect(taken).toHaveLength(1);
      newest = offsetOf(taken[0]![0]);
    }
    await a.append([message('over', '', { end: true })], 'fsync');
    expect(await b.append([message('over')], 'fsync')).toMatchObject([{ error: { code: 'topic_ended' } }]);
    await a.deleteTopic('x');
    await until('the other node knows of it', () => b.deletions.byTopic.has('x'));
    expect(await readAllOf(b, ['x'])).toEqual([]);
  });

  test('reads go on behind thousands of entries that are no records', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    await log.append([message('a', 'first'), message('b', 'second')], 'fsync');
    const time = log.head.time;
    const admin = server.client();
    afterwards(async () => admin.disconnect());
    const notes = admin.pipeline();
    for (let i = 1; i <= 5000; i++) notes.call('XADD', '{tailrace}:log', `2-${i}`, 'p', 'of a node that is gone');
    await notes.exec();
    await admin.hset('{tailrace}:state', 'notes', 5000);
    await log.append([message('c', 'third')], 'fsync');
    const late = await open(server.url, { hotBytes: 1 });
    expect(await dataOf(late)).toEqual(['first', 'second', 'third']);
    expect([...(await late.newest(filterSet(['#']), 5, 3))]).toEqual([1, 2, 3]);
    expect(await late.positionOf(2)).toMatchObject({ offset: 2, time });
  });

  test('an entry that somebody else wrote is told once and passed over', async () => {
    const server = await startRedis();
    const reports: LogReport[] = [];
    const log = await open(server.url, { onReport: report => reports.push(report) });
    await log.append(numbered(3), 'fsync');
    const stranger = server.client();
    afterwards(async () => stranger.disconnect());
    // one that is the last of a read, and one between records
    await stranger.xadd('{tailrace}:log', '3-7', 'not', 'ours');
    await until('it is told', () => reports.length > 0);
    await log.append(numbered(2), 'fsync');
    await stranger.xadd('{tailrace}:log', '5-7', 'not', 'ours');
    await log.append(numbered(2), 'fsync');
    expect(reports.map(({ kind }) => kind)).toEqual(['damaged', 'damaged']);
    expect(log.lost).toEqual([
      { from: 3, to: 3 },
      { from: 5, to: 5 },
    ]);
    expect(log.head.offset).toBe(7);
    expect(await dataOf(log)).toEqual(['m0', 'm1', 'm2', 'm0', 'm1', 'm0', 'm1']);
  });

  test('a server that is killed and comes back has lost nothing, and nothing is doubled', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    const seen: number[] = [];
    log.tail({ onCommit: batch => seen.push(...Array.from({ length: batch.count }, (_, i) => batch.offsetAt(i))) });
    const { epoch } = log.head;
    const messages = numbered(300);
    let acked = 0;
    const publishing = publishAll(log, messages, () => acked++);
    await until('some are acked', () => acked > 50);
    await server.stop('SIGKILL');
    await new Promise(resolve => setTimeout(resolve, 300));
    await server.start();
    await publishing;
    expect(await dataOf(log)).toEqual(messages.map((_, i) => `m${i}`));
    expect(seen).toEqual(messages.map((_, i) => i + 1));
    expect(log.rewinds).toBe(0);
    // a restart begins an epoch; who stood anywhere before goes on
    expect(log.head.epoch).toBeGreaterThan(epoch);
    expect(log.endOf(epoch === 0 ? log.epochOf(1) : epoch)).toBeGreaterThan(50);
  });

  test('after a restart a repeated append is answered although nothing follows it, and so is a refused one', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    const once = message('a', 'one', { id: 'once' });
    await log.append([once, message('over', '', { end: true })], 'fsync');
    await server.stop();
    await server.start();
    expect(await log.append([once], 'fsync')).toEqual([expect.objectContaining({ offset: 1, duplicate: true })]);
    expect(await log.append([message('over')], 'fsync')).toMatchObject([{ error: { code: 'topic_ended' } }]);
    expect((await log.append([message('a', 'two')], 'fsync')).map(offsetOf)).toEqual([3]);
  });

  test('an append that comes late over a connection given up long ago is not appended again', async () => {
    const server = await startRedis();
    const proxy = await startProxy(server);
    const log = await open(proxy.url);
    await log.append([message('a', 'one')], 'fsync');
    proxy.hold();
    const appended = log.append([message('a', 'two')], 'fsync');
    expect((await appended).map(offsetOf)).toEqual([2]);
    expect((await log.append([message('a', 'three')], 'fsync')).map(offsetOf)).toEqual([3]);
    proxy.resume();
    await until('what was held has passed', () => proxy.connections === 4);
    expect((await log.append([message('a', 'four')], 'fsync')).map(offsetOf)).toEqual([4]);
    expect(await dataOf(log)).toEqual(['one', 'two', 'three', 'four']);
  });

  test('a log is closed in time although the server hangs; what waits is told that nobody knows', async () => {
    const server = await startRedis();
    const log = await openRedisLog({ url: server.url });
    await log.append([message('a', 'one')], 'fsync');
    server.signal('SIGSTOP');
    const refused = expect(log.append([message('a', 'two')], 'fsync')).rejects.toMatchObject({
      code: 'outcome_unknown',
    });
    await log.close();
    await refused;
  });

  test('a server that comes back with a full memory is read, and can be trimmed', async () => {
    const server = await startRedis('--maxmemory-policy', 'noeviction');
    const log = await open(server.url);
    for (let i = 0; i < 5; i++) await log.append([message('a', 'x'.repeat(1_000_000))], 'fsync');
    await server.stop();
    await server.start('--maxmemory', '4mb');
    await log.trim(4);
    expect(log.floor).toBe(4);
    const late = await open(server.url);
    expect(await dataOf(late)).toHaveLength(1);
  });

  test('cursors of what follows a restart name its epoch', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    const tokens = new PlainTokens(log);
    log.tail({ onCommit: () => {}, onEpoch: () => tokens.forget() });
    await log.append([message('a', 'one')], 'fsync');
    tokens.of(1, 0);
    await server.stop();
    await server.start();
    await log.append([message('a', 'two')], 'fsync');
    expect(parseCursor(tokens.of(2, 0)).epoch).toBe(log.epochOf(2));
    expect(log.epochOf(2)).toBeGreaterThan(log.epochOf(1));
  });

  test('a start and reads of large records take few of them at a time', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    for (let i = 0; i < 64; i++) await log.append([message('a', Buffer.alloc(1024 * 1024, i))], 'fsync');
    const admin = server.client();
    afterwards(async () => admin.disconnect());
    const sent = async (): Promise<number> =>
      Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))![1]) / 1024 / 1024;
    const before = await sent();
    const late = await open(server.url, { hotBytes: 8 * 1024 * 1024 });
    const started = await sent();
    expect(started - before).toBeLessThan(12);
    expect((await late.read(0, 64, filterSet(['#']), 1000)).records).toHaveLength(1);
    expect(
      (await late.recordsAt(Float64Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 1000)).map(({ offset }) => offset),
    ).toEqual([1]);
    expect((await sent()) - started).toBeLessThan(12);
    expect((await readAllOf(late, ['#'], 0, 64, 3e6)).map(({ data }) => data[0])).toEqual([...Array(64).keys()]);
  });

  test('a look at what could be trimmed takes few large records at a time', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    for (let i = 0; i < 64; i++) await log.append([message('a', Buffer.alloc(1024 * 1024, i))], 'fsync');
    const admin = server.client();
    afterwards(async () => admin.disconnect());
    // what scripts hold is let go of in steps
    await admin.script('FLUSH');
    await log.trim(1);
    const held = Number(/used_memory_lua:(\d+)/.exec(await admin.info('memory'))![1]);
    expect(held).toBeLessThan(16 * 1024 * 1024);
    await log.deleteTopic('a');
    await until('its records are gone', () => log.status.deletionsPending === 0);
    expect(await admin.xlen('{tailrace}:log')).toBe(1);
  });

  test('a node that was behind by many large records comes to the head, and memory holds no more than it may', async () => {
    const server = await startRedis();
    const proxy = await startProxy(server);
    const late = await open(proxy.url, { hotBytes: 8 * 1024 * 1024 });
    const log = await open(server.url);
    proxy.stall();
    for (let i = 0; i < 64; i++) await log.append([message('a', Buffer.alloc(1024 * 1024, i))], 'fsync');
    let most = 0;
    late.tail({ onCommit: batch => (most = Math.max(most, batch.count)) });
    proxy.cut();
    proxy.resume();
    await until('it is at the head', () => late.head.offset === 64);
    expect(most).toBe(1);
    expect(late.hot.bytes).toBeLessThan(9 * 1024 * 1024);
  });

  test('a connection that is dead is noticed by probing it', async () => {
    const server = await startRedis();
    const proxy = await startProxy(server);
    const log = await open(proxy.url);
    const [roundTrip] = log.probes;
    await roundTrip!.run();
    proxy.hold();
    await expect(roundTrip!.run()).rejects.toThrow();
    await until('it is there again', () =>
      roundTrip!.run().then(
        () => true,
        () => false,
      ),
    );
  });

  test('a connection on which messages of other nodes come is made again when it is dead', async () => {
    const server = await startRedis();
    const proxy = await startProxy(server);
    const [a, b] = [await open(server.url), await open(proxy.url)];
    let heard = 0;
    b.live.listen(() => heard++);
    proxy.hold();
    await until('it hears again', async () => {
      a.live.send(message('a', 'live'));
      await new Promise(resolve => setTimeout(resolve, 100));
      return heard > 0;
    });
  });

  test('an append whose answer is lost is appended once', async () => {
    const server = await startRedis();
    const proxy = await startProxy(server);
    const log = await open(proxy.url);
    await log.append([message('a', 'before')], 'fsync');
    const other = await open(server.url);
    proxy.swallowAnswers = true;
    const appended = log.append([message('a', 'one'), message('a', 'two')], 'fsync');
    await until('the server has it', () => other.head.offset === 3);
    proxy.swallowAnswers = false;
    proxy.cut();
    expect((await appended).map(offsetOf)).toEqual([2, 3]);
    await new Promise(resolve => setTimeout(resolve, 200));
    expect(await dataOf(other)).toEqual(['before', 'one', 'two']);
    expect(log.rewinds).toBe(0);
  });

  test('a server that stops answering is left and found again; what waits is appended once, in order', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    await log.append([message('a', 'before')], 'fsync');
    server.signal('SIGSTOP');
    const appended = numbered(20).map(one => log.append([one], 'fsync'));
    // longer than an answer may take: the connections are given up and made again
    await new Promise(resolve => setTimeout(resolve, 6500));
    server.signal('SIGCONT');
    expect((await Promise.all(appended)).map(([result]) => offsetOf(result))).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 2),
    );
    expect(await dataOf(log)).toEqual(['before', ...Array.from({ length: 20 }, (_, i) => `m${i}`)]);
  });

  test('after a failover that loses records the log goes back, says so, and goes on in a new epoch', async () => {
    const primary = await startRedis();
    const link = await startProxy(primary);
    const replica = await startRedis('--replicaof', '127.0.0.1', String(link.port));
    const proxy = await startProxy(primary);
    const reports: LogReport[] = [];
    const log = await open(proxy.url, { onReport: report => reports.push(report) });
    const admin = replica.client();
    afterwards(async () => admin.disconnect());
    await log.append(numbered(10), 'fsync');
    await until('the replica has them', async () => (await admin.xlen('{tailrace}:log')) === 10);
    const told: number[] = [];
    log.tail({ onCommit: () => {}, onRewind: () => told.push(log.head.offset) });
    const { epoch } = log.head;

    link.stall();
    await log.append(
      Array.from({ length: 5 }, (_, i) => message('lost', `lost ${i}`, { id: `${i}` })),
      'fsync',
    );
    expect(log.head.offset).toBe(15);
    await primary.stop('SIGKILL');
    link.cut();
    await admin.replicaof('NO', 'ONE');
    proxy.target = replica.port;
    proxy.cut();

    const [first] = await log.append([message('after', 'failover')], 'fsync');
    expect(offsetOf(first)).toBe(11);
    expect(told).toEqual([10]);
    expect(log.rewinds).toBe(1);
    expect(log.head.epoch).toBeGreaterThan(epoch);
    // a cursor at one of the lost records is told by its epoch
    expect(log.endOf(epoch)).toBe(10);
    expect(await dataOf(log)).toEqual([...numbered(10).map((_, i) => `m${i}`), 'failover']);
    expect(reports).toContainEqual(expect.objectContaining({ kind: 'engine_rewound', lost: [{ from: 11, to: 15 }] }));
    // and a publisher that tries again is not taken for a double
    expect(await log.append([message('lost', 'lost 0', { id: '0' })], 'fsync')).toMatchObject([
      { offset: 12, duplicate: false },
    ]);
  });

  test('Sentinels lead to the primary, also after it is another', async () => {
    const primary = await startRedis();
    const replica = await startRedis('--replicaof', '127.0.0.1', String(primary.port));
    const admin = primary.client();
    afterwards(async () => admin.disconnect());
    await until('the replica is there', async () => (await admin.info('replication')).includes('state=online'));
    const sentinel = await RedisServer.sentinel(primary.port);
    afterwards(() => sentinel.stop('SIGKILL'));
    const url = `redis+sentinel://127.0.0.1:${sentinel.port}/main`;
    const log = await open(url);
    await log.append(numbered(10), 'fsync');
    await until('the replica has them', async () => {
      const info = await admin.info('replication');
      return /lag=[01]\b/.test(info) && /master_repl_offset:(\d+)/.exec(info)![1] === /offset=(\d+)/.exec(info)![1];
    });
    await primary.stop('SIGKILL');
    expect((await log.append([message('a', 'after')], 'fsync')).map(offsetOf)).toEqual([11]);
    expect(log.rewinds).toBe(0);
    expect(await dataOf(log)).toEqual([...numbered(10).map((_, i) => `m${i}`), 'after']);
    const late = await open(url);
    expect(late.head).toEqual(log.head);
    expect(replica.port).not.toBe(primary.port);
  }, 60_000);

  test('with redis.replicas an append that no replica has is not acked', async () => {
    const primary = await startRedis();
    const replica = await startRedis('--replicaof', '127.0.0.1', String(primary.port));
    const admin = primary.client();
    afterwards(async () => admin.disconnect());
    await until('the replica is there', async () => (await admin.info('replication')).includes('state=online'));
    const log = await open(primary.url, { replicas: 1 });
    expect((await log.append([message('a', '1')], 'fsync')).map(offsetOf)).toEqual([1]);
    replica.signal('SIGSTOP');
    await expect(log.append([message('a', '2')], 'fsync')).rejects.toMatchObject({ code: 'outcome_unknown' });
    replica.signal('SIGCONT');
    expect((await log.append([message('a', '3')], 'fsync')).map(offsetOf)).toEqual([3]);
  });

  test('what is lost whole is told as a gap, and offsets go on', async () => {
    const server = await startRedis();
    const reports: LogReport[] = [];
    const log = await open(server.url, { onReport: report => reports.push(report) });
    await log.append(numbered(10), 'fsync');
    const { id } = log;
    const admin = server.client();
    afterwards(async () => admin.disconnect());
    await admin.flushall();
    expect((await log.append([message('a', 'new')], 'fsync')).map(offsetOf)).toEqual([11]);
    expect([log.id, log.floor]).toEqual([id, 10]);
    const slice = await log.read(3, 11, filterSet(['#']), 1e6);
    expect([slice.after, slice.records.map(({ offset }) => offset)]).toEqual([10, [11]]);
    expect(reports.filter(({ kind }) => kind === 'engine_rewound')).toMatchObject([
      { level: 'error', lost: [{ from: 1, to: 10 }], message: expect.stringMatching(/^Redis lost the whole log/) },
    ]);
    const late = await open(server.url);
    expect([late.id, late.floor, late.head.offset]).toEqual([id, 10, 11]);
  });

  test('a full memory refuses appends by name, and reads go on', async () => {
    const server = await startRedis('--maxmemory', '8mb', '--maxmemory-policy', 'noeviction');
    const log = await open(server.url);
    await log.append([message('a', 'kept')], 'fsync');
    let refused: unknown;
    for (let i = 0; i < 20 && refused === undefined; i++)
      await log.append([message('a', 'x'.repeat(1_000_000))], 'fsync').catch((error: unknown) => {
        refused = error;
      });
    expect(refused).toMatchObject({ code: 'log_full', retryAfter: 1000 });
    expect(log.status).toMatchObject({ state: 'full', reason: expect.stringContaining('OOM') });
    expect((await log.read(0, 1, filterSet(['a']), 1000)).records).toHaveLength(1);
    await log.trim(log.head.offset);
    expect((await log.append([message('a', 'again')], 'fsync')).map(offsetOf)).toEqual([log.head.offset]);
    expect(log.status.state).toBe('open');
  });
});
