import { TailraceError } from '@tailrace/protocol';
import type { BrokerPartition, NewEntry } from '../broker-partition.ts';
import type { Place } from './cluster.ts';
import { brokerError, reasonOf } from './errors.ts';
import { KafkaSource, type KafkaSourceParts } from './source.ts';

export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

export interface KafkaPartitionParts extends KafkaSourceParts {
  readonly compression: Compression;
  /** Replicas that must have an entry before it counts, as the topic says. */
  readonly minInSync: number;
}

const allReplicas = -1;
/** How long the slowest replica may take, ms: less than an answer may. */
const produceTimeout = 4000;
const deleteTimeout = 4000;

/** Nothing was appended: whoever answers so does not lead the partition, or has too few replicas. */
const notAppended: ReadonlySet<string | undefined> = new Set([
  'NOT_LEADER_OR_FOLLOWER',
  'LEADER_NOT_AVAILABLE',
  'UNKNOWN_TOPIC_OR_PARTITION',
  'FENCED_LEADER_EPOCH',
  'UNKNOWN_LEADER_EPOCH',
  'NOT_ENOUGH_REPLICAS',
]);
/** Nobody knows whether it was. */
const uncertain: ReadonlySet<string | undefined> = new Set([
  undefined,
  'REQUEST_TIMED_OUT',
  'NOT_ENOUGH_REPLICAS_AFTER_APPEND',
  'KAFKA_STORAGE_ERROR',
  'UNKNOWN_SERVER_ERROR',
  'NETWORK_EXCEPTION',
]);

/** One to which Tailrace writes. */
export class KafkaPartition extends KafkaSource implements BrokerPartition {
  readonly #parts: KafkaPartitionParts;

  constructor(parts: KafkaPartitionParts) {
    super(parts);
    this.#parts = parts;
  }

  async append(entries: readonly NewEntry[]): Promise<readonly number[]> {
    const { cluster, topic, partition, compression } = this.#parts;
    let isSent = false;
    try {
      const place = await cluster.place(topic, partition);
      const connection = await cluster.writer.connect(place.leader);
      const messages = entries.map(({ time, bytes }) => ({ topic, partition, value: bytes, timestamp: BigInt(time) }));
      isSent = true;
      const answer = await cluster.writer.ask<Produced>(connection, 'Produce', () => [
        allReplicas,
        produceTimeout,
        messages,
        { compression },
      ]);
      const first = Number(answer.responses[0]!.partitionResponses[0]!.baseOffset) + 1;
      return entries.map((_, i) => first + i);
    } catch (error) {
      cluster.forgetPlace(topic, partition);
      throw failureOf(error, topic, isSent);
    }
  }

  async trim(offset: number): Promise<void> {
    const { cluster, topic, partition } = this.#parts;
    const { floor } = await this.state();
    if (offset <= floor) return;
    await this.again(async () => {
      const place = await cluster.place(topic, partition);
      const partitions = [{ partitionIndex: partition, offset: BigInt(offset) }];
      await cluster.askLeader(place, 'DeleteRecords', () => [[{ name: topic, partitions }], deleteTimeout]);
    });
  }

  override async probe(): Promise<void> {
    const { minInSync } = this.#parts;
    const place = await this.locate();
    if (place.inSync < minInSync)
      throw new Error(
        `${place.inSync} of ${place.replicas} replicas are in sync, and min.insync.replicas is ${minInSync}`,
      );
    await this.newest(place);
  }

  protected override identity({ topicId }: Place): string {
    return `${topicId} ${this.#parts.partition}`;
  }

  /** On the leader's disk; 0 where this user may not ask. */
  protected override async bytes(place: Place): Promise<number> {
    const { cluster, topic, partition } = this.#parts;
    try {
      const answer = await cluster.askLeader<Sizes>(place, 'DescribeLogDirs', () => [
        [{ name: topic, partitions: [partition] }],
      ]);
      let bytes = 0;
      for (const { topics } of answer.results)
        for (const { partitions } of topics) for (const { partitionSize } of partitions) bytes += Number(partitionSize);
      return bytes;
    } catch (error) {
      if (brokerError(error) === undefined) throw error;
      return 0;
    }
  }
}

function failureOf(error: unknown, topic: string, isSent: boolean): TailraceError {
  const name = brokerError(error);
  const reason = reasonOf(error);
  if (!isSent || notAppended.has(name))
    return new TailraceError('engine_unavailable', `Kafka takes nothing just now: ${reason}`, { retryAfter: 1000 });
  if (uncertain.has(name)) return new TailraceError('outcome_unknown', `Kafka did not answer: ${reason}`);
  if (name === 'MESSAGE_TOO_LARGE' || name === 'RECORD_LIST_TOO_LARGE')
    return new TailraceError('payload_too_large', `Kafka refused it: ${reason} (max.message.bytes of the topic)`);
  const why = name === 'TOPIC_AUTHORIZATION_FAILED' ? `this user lacks Write on topic ${topic}` : reason;
  return new TailraceError('log_fenced', `Kafka refused the append: ${why}`, { retryAfter: 5000 });
}

interface Produced {
  readonly responses: readonly { readonly partitionResponses: readonly { readonly baseOffset: bigint }[] }[];
}

interface Sizes {
  readonly results: readonly {
    readonly topics: readonly { readonly partitions: readonly { readonly partitionSize: bigint }[] }[];
  }[];
}
