import { afterAll, beforeAll } from 'vitest';
import { openPartitions } from '../../src/engines/redis/open-partitions.ts';
import { openRedisLog } from '../../src/engines/redis/redis-log.ts';
import { type GroupSubject, groupContract } from './group-contract.ts';
import { groupHistories } from './group-histories.ts';
import { groupsOfPartitions } from './groups-of-partitions.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

withRedis('groups in Redis', () => {
  let server: RedisServer;
  let made = 0;

  beforeAll(async () => {
    server = await RedisServer.start('--appendfsync', 'no');
  });

  afterAll(() => server.stop());

  const subject: GroupSubject = {
    async open(clock, count) {
      const name = `log-${++made}`;
      const logs = Array.from({ length: count }, () =>
        // the suite's clock counts, wherever it stands
        openRedisLog({ url: server.url, name, clock, clockSkew: 1e15 }),
      );
      return (await Promise.all(logs)).map(log => ({ log, groups: log.groups }));
    },
  };

  groupContract('groups in Redis', subject);
  groupHistories(subject, 60);
  groupsOfPartitions((clock, partitions) => {
    const options = { url: server.url, name: `log-${++made}`, partitions, clock, clockSkew: 1e15 };
    return Promise.all([openPartitions(options), openPartitions(options)]);
  });
});
