// Two servers on one Redis: published at one, subscribed to at the other.
import { residentBytes } from '../cpu.ts';
import { Load } from '../load/load.ts';
import { loadCore } from '../pin.ts';
import type { Entry, Options, Sample, Scenario } from '../scenario.ts';
import { type Cluster, startSocketIoCluster, startTailraceCluster } from '../targets/cluster.ts';
import { startRedis } from '../targets/redis.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { topic } from '../targets/target.ts';
import { type FanoutLoad, runFanout, sampleOf, type Transport } from './fanout.ts';
import { settledMemory } from './memory.ts';
import { publishOne } from './resume.ts';

const missed = 10;
/** Commands of Redis that read records, or ask for anything at all by a script. */
const reads = ['xread', 'xrange', 'xrevrange', 'evalsha', 'eval'] as const;
/** What two nodes ask by themselves within a few seconds, whoever connects. */
const callsMost = 20;
const followed = { rate: 50_000, topics: 10_000, subscribers: 10 } as const;

export function clusterRedisScenarios(): Scenario[] {
  return [
    {
      name: 'cluster-redis-fanout',
      about: '1,000 subscribers at one of two servers, 256 publishes in flight at the other',
      // an ack says that a message is in Redis, however far the subscribers of other servers are behind
      entries: fanoutEntries({ inFlight: 256, untilDelivered: true }),
      goals: [{ figure: 'deliveries/s', of: 'tailrace', to: 'socket.io' }],
    },
    {
      name: 'cluster-redis-paced',
      about: '1,000 subscribers at one of two servers, 50 messages/s offered at the other',
      entries: fanoutEntries({ inFlight: 256, rate: 50 }),
      goals: [{ figure: 'delivery p99 ms', of: 'tailrace', to: 'socket.io' }],
    },
    {
      name: 'cluster-redis-resume',
      about: `clients of one server resume ${missed} missed messages each at the other, all at once, twice`,
      entries: [1_000, 10_000].map(clients => ({
        name: `${clients.toLocaleString('en-US')} clients`,
        measure: options => measureResume(Math.min(clients, options.idleConnections), options),
      })),
      goals: [{ figure: 'calls of Redis', of: '10,000 clients', atMost: callsMost }],
    },
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

function fanoutEntries(load: FanoutLoad): Entry[] {
  return [
    fanoutEntry('tailrace', 'sse', load, ({ profile }) => startTailraceCluster('everysec', profile)),
    fanoutEntry('tailrace always', 'sse', load, ({ profile }) => startTailraceCluster('always', profile)),
    fanoutEntry('socket.io', 'ws', load, () => startSocketIoCluster('everysec')),
  ];
}

function fanoutEntry(
  name: string,
  transport: Transport,
  load: FanoutLoad,
  start: (options: Options) => Promise<Cluster>,
): Entry {
  return {
    name,
    measure: async options => {
      await using cluster = await start(options);
      const result = await runFanout(cluster, [cluster[transport]([topic])], load, options);
      const sample = sampleOf(result);
      return { ...sample, figures: { 'publishes/s': result.publishesPerSecond, ...sample.figures } };
    },
  };
}

async function measureResume(clients: number, { profile }: Options): Promise<Sample> {
  await using cluster = await startTailraceCluster('everysec', profile);
  await using load = new Load();
  const cursor = await publishOne(cluster);
  await load.call('backfill', { target: cluster.publish, count: missed });
  const before = await cluster.redis.calls();
  const { milliseconds, count, cpu } = await load.call('resume', {
    port: cluster.port,
    serverPids: cluster.pids(),
    subscription: cluster.sse([topic], cursor),
    clients,
    messages: missed,
    starter: 'each',
  });
  const after = await cluster.redis.calls();
  const calls = reads.map(name => [name, (after.get(name) ?? 0) - (before.get(name) ?? 0)] as const);
  return {
    figures: {
      'ms until all are live': milliseconds,
      'calls of Redis': calls.reduce((sum, [, count]) => sum + count, 0),
      ...Object.fromEntries(calls.filter(([, count]) => count > 0).map(([name, count]) => [`of these ${name}`, count])),
    },
    count,
    cpu,
  };
}

/** The server has its core for itself: Redis runs beside the load. */
async function measureTail(partitions: number, { profile, warmUpMs, windowMs }: Options): Promise<Sample> {
  await using redis = await startRedis('everysec', loadCore);
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
