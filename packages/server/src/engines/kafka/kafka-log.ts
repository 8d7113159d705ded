import { capabilitiesOf } from '../../log/capabilities.ts';
import { systemClock } from '../../log/clock.ts';
import type { Log } from '../../log/log.ts';
import { logDefaults } from '../../log/options.ts';
import { joined, openEach, shareOf } from '../all-partitions.ts';
import { type BrokerLog, openBrokerLog } from '../broker/broker-log.ts';
import type { LedgerOptions } from '../broker/groups/ledger-replica.ts';
import { notServed } from '../not-served.ts';
import type { Partitioned, ServerLogOptions } from '../server-options.ts';
import { readAddress, type SaslMechanism } from './address.ts';
import { KafkaCluster } from './cluster.ts';
import { reasonOf } from './errors.ts';
import { Fetcher } from './fetcher.ts';
import { type Compression, KafkaPartition } from './partition.ts';
import { SideTopics } from './side-topics.ts';
import { prepareTopic } from './topic.ts';

/** `url`: see `readAddress`; `name`: the topic that holds the log. */
export interface KafkaLogOptions extends ServerLogOptions {
  /** Replicas of the topic when it has to be made; 0: as the brokers say. */
  readonly replicas?: number | undefined;
  readonly compression?: Compression | undefined;
  readonly sasl?: SaslMechanism | undefined;
  readonly groups?: LedgerOptions | undefined;
}

export interface PartitionedOptions extends KafkaLogOptions, Partitioned {}

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
  return joined(await openAll(options, partitions), options);
}

async function openAll(options: KafkaLogOptions, partitions: number): Promise<readonly BrokerLog[]> {
  const { url, name = 'tailrace', sasl = 'plain', replicas = 0, durability } = options;
  const cluster = new KafkaCluster(readAddress(url, sasl));
  const stopWatch = systemClock.after(options.startTimeout ?? startTimeoutDefault, () => void cluster.close());
  try {
    const recordBytes = Math.min(options.recordBytes ?? logDefaults.recordBytes, logDefaults.recordBytesHard);
    const share = shareOf(options, partitions);
    const { age, bytes } = share.retention;
    const demands = { topic: name, partitions, replicas, recordBytes, age, bytes, durability };
    const judged = await prepareTopic(cluster, { ...demands, times: 'writer' });
    const { durabilities, minInSync, bytesMost } = judged;
    const fetcher = new Fetcher(cluster, cluster.follower, systemClock);
    const compression = options.compression ?? 'lz4';
    const kept = { replicas: judged.replicas, minInSync };
    const beside = new SideTopics({ cluster, log: name, partitions, ...kept, compression });
    let open = partitions;
    const onClose = async (): Promise<void> => {
      if (--open === 0) await cluster.close();
    };
    return await openEach(partitions, partition =>
      openBrokerLog({
        ...options,
        ...share,
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
  } catch (error) {
    await cluster.close();
    throw notServed('Kafka', url, reasonOf(error));
  } finally {
    stopWatch();
  }
}
