import { expect, test } from 'vitest';
import { openPartitions } from '../../src/engines/redis/open-partitions.ts';
import type { LogReport } from '../../src/log/report.ts';
import { until } from '../log/messages.ts';
import { afterwards, opened, startRedis } from './for-one-test.ts';
import { withRedis } from './with-redis.ts';

withRedis('what is told of Redis', () => {
  test('a trouble that lasts is told once, whatever the number of partitions and attempts', async () => {
    const redis = await startRedis();
    const reports: LogReport[] = [];
    const onReport = (report: LogReport): unknown => reports.push(report);
    await opened(openPartitions({ url: redis.url, name: 'jobs', partitions: 4, onReport }));
    const told = (kind: LogReport['kind']): number => reports.filter(report => report.kind === kind).length;
    await redis.stop('SIGKILL');
    await until('it is told', () => told('engine_lost') > 0);
    await redis.start();
    await until('it is back', () => told('engine_back') > 0);
    const admin = redis.client();
    afterwards(async () => admin.disconnect());
    await admin.del('{jobs/1}:log');
    await admin.set('{jobs/1}:log', 'not a stream');
    const refused = async (): Promise<number> =>
      Number(/errorstat_WRONGTYPE:count=(\d+)/.exec(await admin.info('errorstats'))?.[1] ?? 0);
    await until('it was tried many times', async () => (await refused()) > 20, 60_000);
    expect([told('engine_lost'), told('engine_back'), told('engine_error')]).toEqual([1, 1, 1]);
  }, 90_000);
});
