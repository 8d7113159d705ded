import { systemClock } from '../../log/clock.ts';
import type { BrokerPartition } from '../broker-partition.ts';
import type { KafkaCluster } from './cluster.ts';
import { Fetcher } from './fetcher.ts';
import { type Compression, KafkaPartition } from './partition.ts';
import { type JudgedTopic, prepareTopic } from './topic.ts';

export interface SideTopicsParts {
  readonly cluster: KafkaCluster;
  /** The topic of the log. */
  readonly log: string;
  /** Of that. */
  readonly partitions: number;
  readonly replicas: number;
  readonly minInSync: number;
  readonly compression: Compression;
}

const entryBytes = 1024 * 1024;
/** How long what nodes say of themselves is kept, ms. */
const beatsKept = 10 * 60 * 1000;
/** What is trimmed is removed in whole segments. */
const segmentBytes = 16 * 1024 * 1024;

/** Topics beside that of a log, made when somebody needs them. */
export class SideTopics {
  readonly #parts: SideTopicsParts;
  readonly #fetcher: Fetcher;
  #ledger: Promise<JudgedTopic> | undefined;

  constructor(parts: SideTopicsParts) {
    this.#parts = parts;
    this.#fetcher = new Fetcher(parts.cluster, parts.cluster.sideFollower, systemClock);
  }

  /** What the groups of a partition of the log do: `<log>-groups`, as well kept as the log. */
  async ledger(partition: number): Promise<BrokerPartition> {
    const { log, partitions } = this.#parts;
    const topic = `${log}-groups`;
    this.#ledger ??= this.#prepare(topic, partitions, undefined, { 'segment.bytes': String(segmentBytes) });
    try {
      await this.#ledger;
    } catch (error) {
      this.#ledger = undefined;
      throw error;
    }
    return this.#partition(topic, partition);
  }

  /** What nodes say of themselves: `<log>-nodes`. */
  async nodes(): Promise<BrokerPartition> {
    const topic = `${this.#parts.log}-nodes`;
    await this.#prepare(topic, 1, beatsKept, { 'segment.ms': String(beatsKept) });
    return this.#partition(topic, 0);
  }

  #prepare(
    topic: string,
    partitions: number,
    age: number | undefined,
    settings: Readonly<Record<string, string>>,
  ): Promise<JudgedTopic> {
    const { cluster, replicas, minInSync } = this.#parts;
    return prepareTopic(cluster, {
      ...{ topic, partitions, replicas, recordBytes: entryBytes, age, bytes: undefined },
      times: 'broker',
      settings: { ...settings, 'min.insync.replicas': String(minInSync) },
    });
  }

  #partition(topic: string, partition: number): BrokerPartition {
    const { cluster, minInSync, compression } = this.#parts;
    // the connections are the log's, and close with it
    const onClose = (): Promise<void> => Promise.resolve();
    return new KafkaPartition({ cluster, fetcher: this.#fetcher, topic, partition, compression, minInSync, onClose });
  }
}
