import { afterAll, beforeAll } from 'vitest';
import { openRedisLog } from '../../src/engines/redis/redis-log.ts';
import { groupContract } from './group-contract.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

withRedis('groups in Redis', () => {
  let server: RedisServer;
  let made = 0;

  beforeAll(async () => {
    server = await RedisServer.start('--appendfsync', 'no');
  });

  afterAll(() => server.stop());

  groupContract('groups in Redis', {
    async open(clock, count) {
      const name = `log-${++made}`;
      const logs = Array.from({ length: count }, () =>
        // the suite's clock counts, wherever it stands
        openRedisLog({ url: server.url, name, clock, clockSkew: 1e15 }),
      );
      return (await Promise.all(logs)).map(log => ({ log, groups: log.groups }));
    },
  });
});
