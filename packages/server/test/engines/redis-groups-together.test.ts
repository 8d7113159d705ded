import { expect, test } from 'vitest';
import { openPartitions } from '../../src/engines/redis/open-partitions.ts';
import { partitionOf } from '../../src/log/woven/partition-of.ts';
import { message } from '../log/messages.ts';
import { opened, startRedis } from './for-one-test.ts';
import { withRedis } from './with-redis.ts';

const partitions = 4;

withRedis('a claim over several partitions', () => {
  test('takes its share of each, and what some lack from those that have more', async () => {
    const redis = await startRedis('--appendfsync', 'no');
    const log = await opened(openPartitions({ url: redis.url, name: 'jobs', partitions }));
    const topics = Array.from({ length: 100 }, (_, i) => `job/${i}`);
    const [busy = '', ...others] = [0, 1, 2, 3].map(p => topics.find(topic => partitionOf(topic, partitions) === p)!);
    const group = await log.shared!.groups!.open('work', { filters: ['job/+'], after: 0, ackDeadline: 60_000 });
    const append = (topic: string, count: number): Promise<unknown> =>
      log.append(
        Array.from({ length: count }, () => message(topic)),
        'fsync',
      );
    const claim = async (most: number): Promise<number[]> => {
      const counts = Array.from({ length: partitions }, () => 0);
      const { deliveries } = await group.claim('m', most);
      for (const { partition } of deliveries) counts[partition!]!++;
      return counts;
    };
    await Promise.all([append(busy, 30), ...others.map(topic => append(topic, 3))]);
    expect(await claim(8)).toEqual([2, 2, 2, 2]);
    // one of each of the others is left
    expect(await claim(12)).toEqual([9, 1, 1, 1]);
    expect(await claim(100)).toEqual([19, 0, 0, 0]);
    expect(await group.claim('m', 3)).toMatchObject({ deliveries: [], dueIn: expect.any(Number) });
  }, 30_000);
});
