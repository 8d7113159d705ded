import { afterAll, beforeAll } from 'vitest';
import { openRedisLog, type RedisLogOptions } from '../../src/engines/redis/redis-log.ts';
import type { Log } from '../../src/log/log.ts';
import { type ContractSubject, logContract } from '../log/contract.ts';
import { deletionContract } from '../log/deletion-contract.ts';
import { keysContract } from '../log/keys-contract.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

withRedis('the log in Redis', () => {
  let server: RedisServer;
  let made = 0;

  beforeAll(async () => {
    server = await RedisServer.start();
  });

  afterAll(() => server.stop());

  function subject(more: Partial<RedisLogOptions>): ContractSubject {
    const names = new WeakMap<Log, string>();
    return {
      async open(clock, options = {}) {
        const name = `log-${++made}`;
        // the suite's clock counts, wherever it stands
        const log = await openRedisLog({ ...options, ...more, url: server.url, name, clock, clockSkew: 1e15 });
        names.set(log, name);
        return log;
      },
      openLeft: (log, clock) =>
        openRedisLog({ ...more, url: server.url, name: names.get(log)!, clock, clockSkew: 1e15 }),
    };
  }

  const plain = subject({});
  logContract('the log in Redis', plain);
  keysContract('the log in Redis', plain);
  deletionContract('the log in Redis', plain);

  // nothing in memory: every read asks the server
  const cold = subject({ hotBytes: 1 });
  logContract('the log in Redis beyond its hot tail', cold);
  keysContract('the log in Redis beyond its hot tail', cold);
  deletionContract('the log in Redis beyond its hot tail', cold);
});
