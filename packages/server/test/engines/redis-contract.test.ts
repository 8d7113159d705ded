import { afterAll, beforeAll } from 'vitest';
import { openRedisLog } from '../../src/engines/redis/redis-log.ts';
import type { Log } from '../../src/log/log.ts';
import { logContract } from '../log/contract.ts';
import { deletionContract } from '../log/deletion-contract.ts';
import { keysContract } from '../log/keys-contract.ts';
import { type NamedLogOptions, namedSubject } from './broker-contract.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

withRedis('the log in Redis', () => {
  let server: RedisServer;

  beforeAll(async () => {
    server = await RedisServer.start();
  });

  afterAll(() => server.stop());

  // the suite's clock counts, wherever it stands
  const open = (options: NamedLogOptions): Promise<Log> =>
    openRedisLog({ ...options, url: server.url, clockSkew: 1e15 });

  const plain = namedSubject(open);
  logContract('the log in Redis', plain);
  keysContract('the log in Redis', plain);
  deletionContract('the log in Redis', plain);

  // nothing in memory: every read asks the server
  const cold = namedSubject(open, { hotBytes: 1 });
  logContract('the log in Redis beyond its hot tail', cold);
  keysContract('the log in Redis beyond its hot tail', cold);
  deletionContract('the log in Redis beyond its hot tail', cold);
});
