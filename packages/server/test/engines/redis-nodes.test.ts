import { expect, test } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { KnownLag } from '../../src/engines/known-lag.ts';
import { RedisConnection } from '../../src/engines/redis/connection.ts';
import { Keys } from '../../src/engines/redis/keys.ts';
import { openRedisLog } from '../../src/engines/redis/redis-log.ts';
import { RedisNodes } from '../../src/engines/redis/redis-nodes.ts';
import type { LogNode } from '../../src/log/index.ts';
import { startServer } from '../../src/server.ts';
import { version } from '../../src/version.ts';
import { Served } from '../cli/served.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message, until } from '../log/messages.ts';
import { afterwards, opened, startProxy, startRedis } from './for-one-test.ts';
import { withRedis } from './with-redis.ts';

async function nodesAt(url: string): Promise<LogNode[]> {
  return ((await (await fetch(`${url}/v1/nodes`)).json()) as { nodes: LogNode[] }).nodes;
}

async function metricAt(url: string, name: string): Promise<number> {
  const line = (await (await fetch(`${url}/metrics`)).text()).split('\n').find(text => text.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1));
}

withRedis('the nodes of a log in Redis', () => {
  test('know each other, and who says goodbye is gone', async () => {
    const redis = await startRedis();
    const engine = ['--engine', redis.url, '--log.level', 'error'];
    const a = await Served.start(engine);
    afterwards(() => a[Symbol.asyncDispose]());
    const b = await Served.start(engine);
    afterwards(() => b[Symbol.asyncDispose]());
    await until('b knows a', async () => (await nodesAt(b.url)).length === 2);
    const [self, other] = await nodesAt(b.url);
    expect(self).toMatchObject({ address: `127.0.0.1:${b.port}`, version, head: 0, lag: 0, silence: 0 });
    expect(other).toMatchObject({ address: `127.0.0.1:${a.port}`, version, head: 0, lag: 0, name: self!.name });
    expect(other!.id).not.toBe(self!.id);
    expect(Math.abs(Date.now() - other!.since)).toBeLessThan(60_000);
    expect(await metricAt(b.url, 'tailrace_cluster_nodes')).toBe(2);
    expect(await metricAt(b.url, 'tailrace_tail_lag_records{partition="0"}')).toBe(0);
    const admin = redis.client();
    afterwards(async () => admin.disconnect());
    expect(await admin.hkeys('{tailrace}:nodes')).toEqual(expect.arrayContaining([self!.id, other!.id]));
    await a.kill('SIGTERM');
    expect(await admin.hkeys('{tailrace}:nodes')).toEqual([self!.id]);
  });

  test('a node that says nothing any more is gone after 60 s, and to who hears nothing after 90 s', async () => {
    const redis = await startRedis();
    const proxy = await startProxy(redis);
    const connection = new RedisConnection(proxy.url, 'x', 'test', () => {});
    afterwards(async () => connection.close());
    const admin = redis.client();
    afterwards(async () => admin.disconnect());
    const clock = new ManualClock();
    const nodes = new RedisNodes({
      connection,
      clock,
      wall: clock,
      keys: new Keys('tailrace'),
      node: 'self',
      head: () => 7,
      onHead: () => {},
      onError: error => {
        throw error;
      },
    });
    const says = (id: string, ago: number): Promise<unknown> =>
      admin.hset('{tailrace}:nodes', id, `${Date.now() - ago} 1 5 2 {"name":"n","address":"h:1","version":"1"}`);
    await says('long silent', 61_000);
    await says('late', 40_000);
    await says('of a clock that went back', -61_000);
    nodes.introduce({ name: 'me', address: 'here:1', version: '2' });
    await until('it has heard', () => nodes.all.length === 2);
    expect(nodes.all).toMatchObject([
      { id: 'self', name: 'me', address: 'here:1', version: '2', since: clock.wall, silence: 0, head: 7, lag: 0 },
      { id: 'late', name: 'n', address: 'h:1', version: '1', since: 1, head: 5, lag: 2 },
    ]);
    expect(nodes.all[1]!.silence).toBeGreaterThanOrEqual(40_000);
    expect((await admin.hkeys('{tailrace}:nodes')).sort()).toEqual(['late', 'self']);

    // the next beat is 30 s later
    await says('young', 0);
    clock.advance(29_999);
    expect(nodes.all.length).toBe(2);
    clock.advance(1);
    await until('it has heard', () => nodes.all.length === 3);

    // while nothing is heard all others fall silent, one by one
    proxy.cut();
    await redis.stop('SIGKILL');
    clock.advance(51_000);
    expect(nodes.all.map(({ id }) => id).sort()).toEqual(['self', 'young']);
    clock.advance(39_000);
    expect(nodes.all.map(({ id }) => id)).toEqual(['self']);
    await redis.start();
    await connection.ready();
    await admin.del('{tailrace}:nodes');
    clock.advance(30_000);
    await until('it is there again', async () => (await admin.hkeys('{tailrace}:nodes')).length === 1);
    await nodes.close();
    expect(await admin.hkeys('{tailrace}:nodes')).toEqual([]);
  });

  test('a tail that hears nothing shows how far it is behind', async () => {
    const redis = await startRedis();
    const proxy = await startProxy(redis);
    const log = await opened(openRedisLog({ url: proxy.url }));
    const other = await opened(openRedisLog({ url: redis.url }));
    const [tail] = log.shared.tails;
    await log.append([message('a')], 'fsync');
    expect(tail).toMatchObject({ partition: '0', records: 0, ms: 0 });
    proxy.hold();
    await other.append([message('a'), message('b'), message('c')], 'fsync');
    // a silent writer is noticed after 5 s, a silent tail after 7 s
    await expect(log.probes[0]!.run()).rejects.toThrow();
    log.shared.nodes.introduce({ name: '', address: '', version: '' });
    await until('it knows', () => tail!.records === 3 && tail!.ms > 0);
    await until('it has come', () => tail!.records === 0 && tail!.ms === 0);
    expect(log.head.offset).toBe(4);
  }, 30_000);

  test('groups show how far they are', async () => {
    const redis = await startRedis();
    const { server, address, close } = await startServer(
      createConfig({ engine: redis.url, port: 0, log: { level: 'silent' } }),
    );
    afterwards(close);
    const url = `http://127.0.0.1:${address.port}`;
    const messages = Array.from({ length: 5 }, () => message('job/1'));
    await server.log.append(messages, 'fsync');
    const group = await server.log.shared!.groups.open('work', { filters: ['job/+'], after: 0 });
    const { deliveries } = await group.claim('ann', 3);
    await group.ack('ann', deliveries.slice(0, 1));
    await group.retry('ann', deliveries.slice(1, 2), 0);
    await server.log.trim(1);
    await group.status();
    const shown = ['lag_records', 'lag_seconds', 'pending', 'due', 'missed_total'].map(name =>
      metricAt(url, `tailrace_group_${name}{group="work"}`),
    );
    expect(await Promise.all(shown)).toEqual([2, 0, 2, 1, 0]);
  });
});

test('a lag begins when it is known, and ends when what was known has come', () => {
  const clock = new ManualClock();
  let reached = 0;
  const lag = new KnownLag('0', clock, () => reached);
  const state = (): number[] => [lag.records, lag.ms];
  expect(state()).toEqual([0, 0]);
  lag.told(10);
  clock.advance(300);
  lag.told(20);
  expect(state()).toEqual([20, 300]);
  reached = 10;
  lag.told(30);
  clock.advance(50);
  expect(state()).toEqual([20, 50]);
  reached = 30;
  expect(state()).toEqual([0, 0]);
  clock.advance(1000);
  lag.told(31);
  expect(state()).toEqual([1, 0]);
  // the log went back
  reached = 5;
  lag.told(5);
  expect(state()).toEqual([0, 0]);
});
