import { capabilitiesOf } from '../../log/capabilities.ts';
import { type Clock, systemClock } from '../../log/clock.ts';
import type { Log } from '../../log/log.ts';
import { type CommonLogOptions, logDefaults } from '../../log/options.ts';
import type { Random } from '../../log/random.ts';
import type { StoredDurability } from '../../log/record.ts';
import { withoutPassword } from '../../log/without-password.ts';
import { WovenLog } from '../../log/woven/woven-log.ts';
import { type BrokerLog, openBrokerLog } from '../broker/broker-log.ts';
import type { LedgerOptions } from '../broker/groups/ledger-replica.ts';
import { readAddress, type SaslMechanism } from './address.ts';
import { reasonOf } from './client.ts';
import { KafkaCluster } from './cluster.ts';
import { Fetcher } from './fetcher.ts';
import { type Compression, KafkaPartition } from './partition.ts';
import { SideTopics } from './side-topics.ts';
import { prepareTopic } from './topic.ts';

export interface KafkaLogOptions extends CommonLogOptions {
  /** `kafka://[user:password@]host:port[,host:port]`, or `kafkas://` for TLS. */
  readonly url: string;
  /** The topic that holds the log. */
  readonly name?: string | undefined;
  /** Replicas of the topic when it has to be made; 0: as the brokers say. */
  readonly replicas?: number | undefined;
  readonly compression?: Compression | undefined;
  readonly sasl?: SaslMechanism | undefined;
  /** Class that the topic must be able to keep; undefined for whatever it keeps. */
  readonly durability?: StoredDurability | undefined;
  /** How long the start waits for the brokers, ms. */
  readonly startTimeout?: number | undefined;
  /** Of records and their ages. What waits for the brokers waits in real time. */
  readonly clock?: Clock | undefined;
  readonly groups?: LedgerOptions | undefined;
  readonly random?: Random | undefined;
}

export interface PartitionedOptions extends KafkaLogOptions {
  /** Of the topic. They stay as many for the life of the log: they decide where a topic of the log is. */
  readonly partitions: number;
}

const startTimeoutDefault = 15_000;
/** A tail that has been silent for longer is stuck, ms. */
const silenceMost = 2500;

/**
 * Opens the log that lives in a topic of Kafka with one partition, or begins it. Rejects when no broker answers in time, or
 * the topic must not be used (`prepareTopic`).
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<BrokerLog> {
  const [log] = await openAll(options, 1);
  return log!;
}

/** The same in one partition or several. */
export async function openKafkaPartitions({ partitions, ...options }: PartitionedOptions): Promise<Log> {
  const logs = await openAll(options, partitions);
  return logs.length === 1 ? logs[0]! : new WovenLog(logs, { hotBytes: options.hotBytes });
}

async function openAll(options: KafkaLogOptions, partitions: number): Promise<readonly BrokerLog[]> {
  const { url, name = 'tailrace', sasl = 'plain', replicas = 0, durability } = options;
  const { retention, hotBytes = logDefaults.hotBytes } = options;
  const cluster = new KafkaCluster(readAddress(url, sasl));
  const stopWatch = systemClock.after(options.startTimeout ?? startTimeoutDefault, () => void cluster.close());
  const logs: BrokerLog[] = [];
  try {
    const recordBytes = Math.min(options.recordBytes ?? logDefaults.recordBytes, logDefaults.recordBytesHard);
    const bytes = retention?.bytes === undefined ? undefined : Math.ceil(retention.bytes / partitions);
    const demands = { topic: name, partitions, replicas, recordBytes, age: retention?.age, bytes, durability };
    const { durabilities, minInSync, bytesMost } = await prepareTopic(cluster, { ...demands, times: 'writer' });
    const fetcher = new Fetcher(cluster, cluster.follower, systemClock);
    const compression = options.compression ?? 'lz4';
    const beside = new SideTopics({ cluster, log: name, partitions, replicas, minInSync, compression });
    let open = partitions;
    const onClose = async (): Promise<void> => {
      if (--open === 0) await cluster.close();
    };
    for (let partition = 0; partition < partitions; partition++)
      logs.push(
        await openBrokerLog({
          ...options,
          hotBytes: hotBytes / partitions,
          recordBytes: Math.min(recordBytes, bytesMost),
          partition: new KafkaPartition({ cluster, fetcher, topic: name, partition, compression, minInSync, onClose }),
          index: partition,
          requestBytes: bytesMost,
          capabilities: { ...capabilitiesOf.kafka, durabilities },
          broker: 'Kafka',
          silenceMost,
          openLedger: () => beside.ledger(partition),
          openNodes: partition === 0 ? () => beside.nodes() : undefined,
        }),
      );
    return logs;
  } catch (error) {
    await Promise.all(logs.map(log => log.close()));
    await cluster.close();
    throw new Error(`the log cannot be opened: Kafka at ${withoutPassword(url)} does not serve it: ${reasonOf(error)}`);
  } finally {
    stopWatch();
  }
}
