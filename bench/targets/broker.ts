// What servers share: Redis, Kafka or NATS, on the servers' core, with everything on its disk.
import { startKafka } from './kafka.ts';
import { startNats } from './nats.ts';
import { startRedis } from './redis.ts';

/** When it syncs what it writes: before it answers, or later. */
export type Sync = 'always' | 'later';

export interface Broker extends AsyncDisposable {
  readonly url: string;
  /** Settings that a server needs with it. */
  readonly settings: readonly string[];
  pids(): number[];
  /** What it has been asked so far, as it counts itself, as far as it has to do with reading. */
  calls(): Promise<Map<string, number>>;
}

export const brokerNames = ['redis', 'kafka', 'nats'] as const;

export type BrokerName = (typeof brokerNames)[number];

export function startBroker(name: BrokerName, sync: Sync): Promise<Broker> {
  if (name === 'redis') return startRedis(sync);
  return name === 'kafka' ? startKafka(sync) : startNats(sync);
}
