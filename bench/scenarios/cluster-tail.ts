// One server that follows a log of which its subscribers want next to nothing.
import { residentBytes } from '../cpu.ts';
import { Load } from '../load/load.ts';
import { loadCore } from '../pin.ts';
import type { Options, Sample, Scenario } from '../scenario.ts';
import { startRedis } from '../targets/redis.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { topic } from '../targets/target.ts';
import { settledMemory } from './memory.ts';

const followed = { rate: 50_000, topics: 10_000, subscribers: 10 } as const;

export function clusterTailScenarios(): Scenario[] {
  return [
    {
      name: 'cluster-redis-tail',
      about: `a server that follows ${followed.rate.toLocaleString('en-US')} records/s of many topics for ${followed.subscribers} subscribers of one`,
      entries: [1, 64].map(partitions => ({
        name: partitions === 1 ? '1 partition' : `${partitions} partitions`,
        measure: options => measureTail(partitions, options),
      })),
      goals: [],
    },
  ];
}

/** The server has its core for itself: Redis runs beside the load. */
async function measureTail(partitions: number, { profile, warmUpMs, windowMs }: Options): Promise<Sample> {
  await using redis = await startRedis('later', loadCore);
  await using target = await startTailrace(
    profile,
    ...['--engine', redis.url, '--durability', 'written', '--redis.partitions', String(partitions)],
  );
  await using load = new Load();
  const { port } = target;
  await load.call('open', { port, subscriptions: [target.sse([topic])], count: followed.subscribers });
  const { recordsPerSecond, count, cpu } = await load.call('engineAppends', {
    url: redis.url,
    partitions,
    rate: followed.rate,
    topic,
    topics: followed.topics,
    serverPids: target.pids(),
    warmUpMs,
    windowMs,
  });
  const before = residentBytes(target.pids());
  return {
    figures: {
      'records/s': recordsPerSecond,
      'µs of CPU a record': (cpu.server * 1e6) / recordsPerSecond,
      'server RSS MB': before / 1024 ** 2,
      'server RSS MB after gc': (await settledMemory(target)) / 1024 ** 2,
    },
    count,
    cpu,
  };
}
