import type { Clock } from '../log/clock.ts';
import { type CommonLogOptions, type EngineName, engineOf, type Log, type Random } from '../log/index.ts';
import type { StoredDurability } from '../log/record.ts';
import { withoutPassword } from '../log/without-password.ts';
import type { BridgedPartition } from '../log/woven/spread.ts';

import type { BridgeRule } from './bridge/open-bridge.ts';
import type { PartitionedOptions as KafkaOptions } from './kafka/kafka-log.ts';
import type { PartitionedOptions as NatsOptions } from './nats/nats-log.ts';
import type { PartitionedOptions as RedisOptions } from './redis/open-partitions.ts';

/** What the settings say of engines. */
export interface EngineSettings {
  /** The URL. */
  readonly engine: string;
  readonly durability: StoredDurability;
  readonly redis: Pick<RedisOptions, 'name' | 'partitions' | 'replicas'>;
  readonly kafka: Pick<KafkaOptions, 'name' | 'partitions' | 'replicas' | 'compression' | 'sasl'> & {
    /** URL of the Kafka whose topics are bridged; '' for that of `engine`. */
    readonly bridge: string;
  };
  readonly nats: Pick<NatsOptions, 'name' | 'partitions' | 'replicas' | 'synced'>;
  readonly bridge: readonly BridgeRule[];
}

export interface SharedLogOptions extends CommonLogOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Partitions that others write, beside those of the log. */
  readonly bridged: readonly BridgedPartition[];
}

/** npm packages of each, which are installed by who wants it. */
const packages: Readonly<Record<Exclude<EngineName, 'disk' | 'memory'>, string>> = {
  redis: 'ioredis',
  kafka: '@platformatic/kafka',
  nats: '@nats-io/transport-node @nats-io/jetstream',
};

/** Opens the log behind the URL that the setting `engine` is. The code for it is loaded only then. */
export async function openSharedLog(config: EngineSettings, common: SharedLogOptions): Promise<Log> {
  const options = { ...common, url: config.engine, durability: config.durability };
  const engine = engineOf(config.engine) as keyof typeof packages;
  const name = `engine ${withoutPassword(config.engine)}`;
  const open = {
    redis: async () => {
      const { openPartitions } = await loaded(import('./redis/open-partitions.ts'), name, engine);
      return openPartitions({ ...options, ...config.redis });
    },
    kafka: async () => {
      const { openKafkaPartitions } = await loaded(import('./kafka/kafka-log.ts'), name, engine);
      return openKafkaPartitions({ ...options, ...config.kafka });
    },
    nats: async () => {
      const { openNatsPartitions } = await loaded(import('./nats/nats-log.ts'), name, engine);
      return openNatsPartitions({ ...options, ...config.nats });
    },
  };
  return open[engine]();
}

/** Opens what the setting `bridge` names, to be read beside the log; nothing where it names nothing. */
export async function openBridged(
  { bridge: rules, kafka, engine }: Omit<EngineSettings, 'durability' | 'redis' | 'nats'>,
  common: Omit<SharedLogOptions, 'bridged'>,
): Promise<readonly BridgedPartition[]> {
  if (rules.length === 0) return [];
  const url = kafka.bridge === '' ? engine : kafka.bridge;
  const { openBridge } = await loaded(import('./bridge/open-bridge.ts'), `bridge to ${withoutPassword(url)}`, 'kafka');
  return openBridge({ ...common, url, sasl: kafka.sasl, rules });
}

/** `name`: who needs it. */
async function loaded<T>(module: Promise<T>, name: string, engine: keyof typeof packages): Promise<T> {
  try {
    return await module;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error(`${name} needs a package that is not installed: npm install ${packages[engine]}`);
  }
}
