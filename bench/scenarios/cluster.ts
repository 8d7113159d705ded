// Two servers on one broker: published at one, subscribed to at the other.
import { Load } from '../load/load.ts';
import type { Entry, Options, Sample, Scenario } from '../scenario.ts';
import { type BrokerName, brokerNames } from '../targets/broker.ts';
import { type Cluster, startSocketIoCluster, startTailraceCluster } from '../targets/cluster.ts';
import { topic } from '../targets/target.ts';
import { type FanoutLoad, runFanout, sampleOf, type Transport } from './fanout.ts';
import { publishOne } from './resume.ts';

const missed = 10;
/** What a broker is asked at most, of both rounds together, whoever connects: what two nodes ask by themselves meanwhile. */
const callsMost: Readonly<Record<BrokerName, number>> = { redis: 20, kafka: 40, nats: 20 };

export function clusterScenarios(): Scenario[] {
  return brokerNames.flatMap(scenariosOf);
}

function scenariosOf(broker: BrokerName): Scenario[] {
  return [
    {
      name: `cluster-${broker}-fanout`,
      about: '1,000 subscribers at one of two servers, 256 publishes in flight at the other',
      // an ack says that a message is in the broker, however far the subscribers of other servers are behind
      entries: fanoutEntries(broker, { inFlight: 256, untilDelivered: true }),
      goals: [{ figure: 'deliveries/s', of: 'tailrace', to: 'socket.io' }],
    },
    {
      name: `cluster-${broker}-paced`,
      about: '1,000 subscribers at one of two servers, 50 messages/s offered at the other',
      entries: fanoutEntries(broker, { inFlight: 256, rate: 50 }),
      goals: [{ figure: 'delivery p99 ms', of: 'tailrace', to: 'socket.io' }],
    },
    {
      name: `cluster-${broker}-resume`,
      about: `clients of one server resume ${missed} missed messages each at the other, all at once, twice`,
      entries: [1_000, 10_000].map(clients => ({
        name: `${clients.toLocaleString('en-US')} clients`,
        measure: options => measureResume(broker, Math.min(clients, options.idleConnections), options),
      })),
      goals: [{ figure: 'calls of the broker', of: '10,000 clients', atMost: callsMost[broker] }],
    },
  ];
}

function fanoutEntries(broker: BrokerName, load: FanoutLoad): Entry[] {
  return [
    fanoutEntry('tailrace', 'sse', load, ({ profile }) => startTailraceCluster(broker, 'later', profile)),
    fanoutEntry('tailrace always', 'sse', load, ({ profile }) => startTailraceCluster(broker, 'always', profile)),
    fanoutEntry('socket.io', 'ws', load, () => startSocketIoCluster()),
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

async function measureResume(broker: BrokerName, clients: number, { profile }: Options): Promise<Sample> {
  await using cluster = await startTailraceCluster(broker, 'later', profile);
  await using load = new Load();
  const cursor = await publishOne(cluster);
  await load.call('backfill', { target: cluster.publish, count: missed });
  const before = await cluster.broker.calls();
  const { milliseconds, count, cpu } = await load.call('resume', {
    port: cluster.port,
    serverPids: cluster.pids(),
    subscription: cluster.sse([topic], cursor),
    clients,
    messages: missed,
    starter: 'each',
  });
  const after = await cluster.broker.calls();
  const calls = [...after].map(([name, count]) => [name, count - (before.get(name) ?? 0)] as const);
  return {
    figures: {
      'ms until all are live': milliseconds,
      'calls of the broker': calls.reduce((sum, [, count]) => sum + count, 0),
      ...Object.fromEntries(calls.filter(([, count]) => count > 0).map(([name, count]) => [`of these ${name}`, count])),
    },
    count,
    cpu,
  };
}
