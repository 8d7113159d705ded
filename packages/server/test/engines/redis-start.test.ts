import { expect, test } from 'vitest';
import { openRedisLog, type RedisLog } from '../../src/engines/redis/redis-log.ts';
import { opened, startRedis } from './for-one-test.ts';
import { withRedis } from './with-redis.ts';

async function openOn(...more: string[]): Promise<RedisLog> {
  return opened(openRedisLog({ url: (await startRedis(...more)).url }));
}

withRedis('what a Redis server has to be', () => {
  test('a server that would lose records silently is refused at the start', async () => {
    const evicting = await startRedis('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru');
    await expect(openRedisLog({ url: evicting.url })).rejects.toThrow(
      /^the log cannot be opened: Redis at redis:\/\/127\.0\.0\.1:\d+ does not serve it: its maxmemory-policy is allkeys-lru/,
    );
    const primary = await startRedis();
    const replica = await startRedis('--replicaof', '127.0.0.1', String(primary.port));
    await expect(openRedisLog({ url: replica.url })).rejects.toThrow(/it is a slave: the url has to name the primary/);
    await expect(openRedisLog({ url: primary.url, replicas: 2 })).rejects.toThrow(/redis.replicas is 2/);
    await primary.stop();
    await expect(openRedisLog({ url: primary.url, startTimeout: 300 })).rejects.toThrow(/ECONNREFUSED/);
  });

  test('durability is what the server keeps, and no more', async () => {
    const everySecond = await openOn('--appendfsync', 'everysec');
    expect(everySecond.capabilities.durabilities).toEqual(['written']);
    const nothing = await openOn('--appendonly', 'no');
    expect(nothing.capabilities.durabilities).toEqual([]);
  });
});
