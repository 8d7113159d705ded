import { expect, test } from 'vitest';
import { openRedisLog, type RedisLog, type RedisLogOptions } from '../../src/engines/redis/redis-log.ts';
import type { Claim, Group } from '../../src/log/group-store.ts';
import { message, offsetOf, until } from '../log/messages.ts';
import { afterwards, opened, startProxy, startRedis } from './for-one-test.ts';
import { Crew } from './group-crew.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

function open(url: string, options: Partial<RedisLogOptions> = {}): Promise<RedisLog> {
  return opened(openRedisLog({ url, ...options }));
}

function groupOf(log: RedisLog, ackDeadline?: number): Promise<Group> {
  return log.groups.open('work', { filters: ['job/#'], after: 0, ackDeadline });
}

async function append(log: RedisLog, count: number): Promise<number[]> {
  const messages = Array.from({ length: count }, (_, i) => message('job/1', `${i}`));
  return (await log.append(messages, 'fsync')).map(offsetOf);
}

function offsets({ deliveries }: Claim): number[] {
  return deliveries.map(({ offset }) => offset);
}

withRedis('groups while Redis fails', () => {
  test('a server that is killed and comes back: all is done, and nothing that was acked comes again', async () => {
    const server = await startRedis();
    const logs = [await open(server.url), await open(server.url)];
    const crew = new Crew(await Promise.all(logs.map(log => groupOf(log, 1000))), 4);
    const appended: number[] = [];
    for (let i = 0; i < 3; i++) {
      for (let n = 0; n < 20; n++) appended.push(...(await append(logs[n % 2]!, 5)));
      await server.stop('SIGKILL');
      await server.start();
    }
    await until('all is done', () => appended.every(offset => crew.acked.has(offset)), 40_000);
    await crew.stop();
    expect(crew.again).toEqual([]);
  }, 90_000);

  test('connections that are cut all the time: the same', async () => {
    const server = await startRedis();
    const proxies = [await startProxy(server), await startProxy(server)];
    const logs = [await open(proxies[0]!.url), await open(proxies[1]!.url)];
    const crew = new Crew(await Promise.all(logs.map(log => groupOf(log, 1000))), 4);
    const appended: number[] = [];
    for (let n = 0; n < 40; n++) {
      appended.push(...(await append(logs[n % 2]!, 10)));
      proxies[(n >> 1) % 2]!.cut();
    }
    await until('all is done', () => appended.every(offset => crew.acked.has(offset)), 40_000);
    await crew.stop();
    expect(crew.again).toEqual([]);
  }, 90_000);

  test('claims and acks whose answers are lost are done once', async () => {
    const server = await startRedis();
    const proxy = await startProxy(server);
    const log = await open(proxy.url);
    const other = await open(server.url);
    const group = await groupOf(log, 60_000);
    await append(other, 4);
    await until('it is read', () => log.head.offset === 4);
    // the first call of all teaches the server the script
    expect(offsets(await group.claim('bob', 1))).toEqual([1]);
    proxy.swallowAnswers = true;
    const claiming = group.claim('ann', 3);
    await until('it is claimed', async () => (await (await groupOf(other)).status()).pending === 4);
    proxy.swallowAnswers = false;
    proxy.cut();
    const { deliveries } = await claiming;
    expect(deliveries).toMatchObject([2, 3, 4].map(offset => ({ offset, count: 1 })));

    proxy.swallowAnswers = true;
    const acking = group.ack('ann', deliveries);
    await until('it is acked', async () => (await (await groupOf(other)).status()).pending === 1);
    proxy.swallowAnswers = false;
    proxy.cut();
    expect(await acking).toEqual([true, true, true]);
  });

  test('a call that comes late, over a connection given up long ago, claims nothing for nobody', async () => {
    const server = await startRedis();
    const proxy = await startProxy(server);
    const log = await open(proxy.url);
    const group = await groupOf(log, 60_000);
    await append(log, 10);
    expect(offsets(await group.claim('ann', 1))).toEqual([1]);
    const connections = proxy.connections;
    proxy.hold();
    expect((await group.claim('ann', 2)).deliveries).toMatchObject([
      { offset: 2, count: 1 },
      { offset: 3, count: 1 },
    ]);
    expect(offsets(await group.claim('ann', 1))).toEqual([4]);
    proxy.resume();
    await until('what was held has passed', () => proxy.connections === connections);
    expect(offsets(await group.claim('ann', 10))).toEqual([5, 6, 7, 8, 9, 10]);
    expect(await group.status()).toMatchObject({ pending: 10, next: 10 });
  }, 30_000);

  test('a server that hangs for longer than an answer may take: all is done, and nothing that was acked comes again', async () => {
    const server = await startRedis();
    const logs = [await open(server.url), await open(server.url)];
    const crew = new Crew(await Promise.all(logs.map(log => groupOf(log, 1000))), 4);
    const appended = await append(logs[0]!, 100);
    server.signal('SIGSTOP');
    const late = append(logs[1]!, 50);
    await new Promise(resolve => setTimeout(resolve, 6000));
    server.signal('SIGCONT');
    appended.push(...(await late));
    await until('all is done', () => appended.every(offset => crew.acked.has(offset)), 40_000);
    await crew.stop();
    expect(crew.again).toEqual([]);
  }, 60_000);

  test('a node that is gone loses nothing: what its members held is given to others after its time', async () => {
    const server = await startRedis();
    const [log, other] = [await open(server.url), await open(server.url)];
    const [group, rest] = [await groupOf(log, 500), await groupOf(other, 500)];
    await append(log, 6);
    await group.claim('ann', 3);
    await log.close();
    await expect(group.claim('ann', 1)).rejects.toMatchObject({ code: 'draining' });
    await until('it is read', () => other.head.offset === 6);
    expect(offsets(await rest.claim('bob', 10))).toEqual([4, 5, 6]);
    let late: Claim['deliveries'] = [];
    await until('the rest comes', async () => {
      late = (await rest.claim('bob', 10)).deliveries.filter(({ offset }) => offset <= 3);
      return late.length > 0;
    });
    expect(late).toMatchObject([1, 2, 3].map(offset => ({ offset, count: 2 })));
  });

  test('after a failover that loses records, members hold nothing that is lost, and get what has the same offsets now', async () => {
    const primary = await startRedis();
    const link = await startProxy(primary);
    const replica = await startRedis('--replicaof', '127.0.0.1', String(link.port));
    const proxy = await startProxy(primary);
    const admin = replica.client();
    afterwards(async () => admin.disconnect());
    const log = await open(proxy.url);
    const group = await groupOf(log, 60_000);
    await append(log, 4);
    const kept = await group.claim('ann', 2);
    await until('the replica has it', async () => (await admin.hlen('{tailrace}:group-held:work')) === 2);
    link.stall();
    const lost = await append(log, 3);
    const unknown = await group.claim('ann', 10);
    expect(offsets(unknown)).toEqual([3, 4, ...lost]);
    expect(await group.ack('ann', kept.deliveries.slice(0, 1))).toEqual([true]);
    await log.groups.open('young', { filters: ['#'], after: 0 });

    await primary.stop('SIGKILL');
    link.cut();
    await admin.replicaof('NO', 'ONE');
    proxy.target = replica.port;
    proxy.cut();
    const anew = await append(log, 2);
    expect([anew, log.rewinds]).toEqual([[5, 6], 1]);

    // the receipt of what was lost is none of what is there now
    const now = await group.claim('ann', 10);
    expect(now.deliveries.map(({ offset, count }) => [offset, count])).toEqual([
      [3, 1],
      [4, 1],
      [5, 1],
      [6, 1],
    ]);
    expect(Buffer.from(now.deliveries[2]!.record.data).toString()).toBe('0');
    expect(await group.ack('ann', unknown.deliveries.slice(2))).toEqual([false, false, false]);
    expect(await group.ack('ann', now.deliveries)).toEqual([true, true, true, true]);
    // the server forgot this ack with the rest
    expect(await group.ack('ann', kept.deliveries)).toEqual([true, true]);
    expect(await group.status()).toMatchObject({ pending: 0, lag: 0 });
    // and a whole group, which begins again where this node knew it
    const young = await log.groups.open('young', { filters: ['#'], after: 0 });
    expect(offsets(await young.claim('ann', 10))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('a node that has not noticed yet that the log went back gives out nothing of what is lost', async () => {
    const primary = await startRedis();
    const link = await startProxy(primary);
    const replica = await startRedis('--replicaof', '127.0.0.1', String(link.port));
    const proxy = await startProxy(primary);
    const admin = replica.client();
    afterwards(async () => admin.disconnect());
    const log = await open(proxy.url);
    await append(log, 2);
    await until('the replica has it', async () => (await admin.xlen('{tailrace}:log')) === 2);
    link.stall();
    await append(log, 3);
    // the tail hears nothing; the connection for groups is not there yet
    proxy.hold();
    await primary.stop('SIGKILL');
    link.cut();
    await admin.replicaof('NO', 'ONE');
    proxy.target = replica.port;
    const other = await open(replica.url);
    await other.append(
      [3, 4, 5].map(i => message('job/1', `anew ${i}`)),
      'fsync',
    );
    const group = await groupOf(log);
    expect(log.head.offset).toBe(5);
    expect(await group.claim('ann', 10)).toEqual({ deliveries: [], dueIn: 100 });
    proxy.cut();
    await until('it has noticed', () => log.rewinds === 1 && log.head.offset === 5);
    const { deliveries } = await group.claim('ann', 10);
    expect(deliveries.map(({ record }) => Buffer.from(record.data).toString())).toEqual([
      ...['0', '1', 'anew 3', 'anew 4', 'anew 5'],
    ]);
  });

  test('when all is lost, groups go on with what comes', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    const group = await groupOf(log);
    await append(log, 5);
    const before = await group.claim('ann', 3);
    const admin = server.client();
    afterwards(async () => admin.disconnect());
    await admin.flushall();
    expect(await append(log, 2)).toEqual([6, 7]);
    expect(offsets(await group.claim('ann', 10))).toEqual([6, 7]);
    expect(await group.ack('ann', before.deliveries)).toEqual([false, false, false]);
  });

  test('Sentinels lead members to the new primary, which knows what was acked', async () => {
    const primary = await startRedis();
    await startRedis('--replicaof', '127.0.0.1', String(primary.port));
    const admin = primary.client();
    await until('the replica is there', async () => (await admin.info('replication')).includes('state=online'));
    const sentinel = await RedisServer.sentinel(primary.port);
    afterwards(() => sentinel.stop('SIGKILL'));
    const log = await open(`redis+sentinel://127.0.0.1:${sentinel.port}/main`);
    const group = await groupOf(log, 60_000);
    await append(log, 6);
    const { deliveries } = await group.claim('ann', 4);
    expect(await group.ack('ann', deliveries.slice(0, 2))).toEqual([true, true]);
    await until('the replica has it', async () => {
      const info = await admin.info('replication');
      return /master_repl_offset:(\d+)/.exec(info)![1] === /offset=(\d+)/.exec(info)![1];
    });
    admin.disconnect();
    await primary.stop('SIGKILL');
    expect(await group.ack('ann', deliveries)).toEqual([false, false, true, true]);
    expect(offsets(await group.claim('ann', 10))).toEqual([5, 6]);
    expect(log.rewinds).toBe(0);
  }, 60_000);

  test('with redis.replicas an ack that no replica has is told to be unknown', async () => {
    const primary = await startRedis();
    const link = await startProxy(primary);
    await startRedis('--replicaof', '127.0.0.1', String(link.port));
    const admin = primary.client();
    afterwards(async () => admin.disconnect());
    await until('the replica is there', async () => (await admin.info('replication')).includes('state=online'));
    const log = await open(primary.url, { replicas: 1 });
    const group = await groupOf(log, 60_000);
    await append(log, 2);
    const { deliveries } = await group.claim('ann', 2);
    expect(await group.ack('ann', deliveries.slice(0, 1))).toEqual([true]);
    link.stall();
    await expect(group.ack('ann', deliveries.slice(1))).rejects.toMatchObject({ code: 'outcome_unknown' });
  }, 30_000);

  test('a full memory stops no work', async () => {
    const server = await startRedis();
    const log = await open(server.url);
    const group = await groupOf(log, 60_000);
    await append(log, 10);
    const { deliveries } = await group.claim('ann', 5);
    const admin = server.client();
    afterwards(async () => admin.disconnect());
    await admin.config('SET', 'maxmemory', '1');
    await expect(append(log, 1)).rejects.toMatchObject({ code: 'log_full' });
    expect(await group.ack('ann', deliveries)).toEqual([true, true, true, true, true]);
    expect(offsets(await group.claim('ann', 10))).toEqual([6, 7, 8, 9, 10]);
  });
});
