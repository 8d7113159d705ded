// Two servers on one broker, all three on the servers' core: what is published at the first is subscribed to at the second.
import { type Broker, type BrokerName, type Sync, startBroker } from './broker.ts';
import { startSocketIo } from './socket-io.ts';
import { startTailrace } from './tailrace.ts';
import type { Target } from './target.ts';

export interface Cluster extends Target {
  readonly broker: Broker;
}

/** `sync` decides what an ack can promise: `fsync` or `written`. */
export function startTailraceCluster(broker: BrokerName, sync: Sync, profile?: string): Promise<Cluster> {
  const durability = sync === 'always' ? 'fsync' : 'written';
  return startCluster(broker, sync, ({ url, settings }) =>
    startTailrace(profile, '--engine', url, '--durability', durability, ...settings),
  );
}

/** Its adapter is one for Redis. */
export function startSocketIoCluster(): Promise<Cluster> {
  return startCluster('redis', 'later', ({ url }) => startSocketIo(url));
}

async function startCluster(
  name: BrokerName,
  sync: Sync,
  startNode: (broker: Broker) => Promise<Target>,
): Promise<Cluster> {
  await using stack = new AsyncDisposableStack();
  const broker = stack.use(await startBroker(name, sync));
  const first = stack.use(await startNode(broker));
  const second = stack.use(await startNode(broker));
  const all = stack.move();
  return {
    ...second,
    broker,
    publish: first.publish,
    pids: () => [...broker.pids(), ...first.pids(), ...second.pids()],
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
