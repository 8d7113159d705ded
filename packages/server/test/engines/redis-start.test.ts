import { afterEach, expect, test } from 'vitest';
import { openRedisLog, type RedisLog } from '../../src/engines/redis/redis-log.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

const cleanup: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function startServer(...more: string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...more);
  cleanup.push(() => server.stop('SIGKILL'));
  return server;
}

async function opened(...more: string[]): Promise<RedisLog> {
  const log = await openRedisLog({ url: (await startServer(...more)).url });
  cleanup.push(() => log.close());
  return log;
}

withRedis('what a Redis server has to be', () => {
  test('a server that would lose records silently is refused at the start', async () => {
    const evicting = await startServer('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru');
    await expect(openRedisLog({ url: evicting.url })).rejects.toThrow(
      /^the log cannot be opened: Redis at redis:\/\/127\.0\.0\.1:\d+ does not serve it: its maxmemory-policy is allkeys-lru/,
    );
    const primary = await startServer();
    const replica = await startServer('--replicaof', '127.0.0.1', String(primary.port));
    await expect(openRedisLog({ url: replica.url })).rejects.toThrow(/it is a slave: the url has to name the primary/);
    await expect(openRedisLog({ url: primary.url, replicas: 2 })).rejects.toThrow(/redis.replicas is 2/);
    await primary.stop();
    await expect(openRedisLog({ url: primary.url, startTimeout: 300 })).rejects.toThrow(/ECONNREFUSED/);
  });

  test('durability is what the server keeps, and no more', async () => {
    const everySecond = await opened('--appendfsync', 'everysec');
    expect(everySecond.capabilities.durabilities).toEqual(['written']);
    const nothing = await opened('--appendonly', 'no');
    expect(nothing.capabilities.durabilities).toEqual([]);
  });
});
