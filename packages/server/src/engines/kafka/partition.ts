import { createHash } from 'node:crypto';
import { TailraceError } from '@tailrace/protocol';
import { systemClock } from '../../log/clock.ts';
import type {
  BrokerPartition,
  Following,
  NewEntry,
  PartitionListener,
  PartitionRead,
  PartitionState,
} from '../broker-partition.ts';
import { type KafkaCluster, type Place, waitMost } from './cluster.ts';
import { Epochs } from './epochs.ts';
import { brokerError, reasonOf } from './errors.ts';
import { fetchFrom } from './fetch.ts';
import type { Fetcher } from './fetcher.ts';

export type Compression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

export interface KafkaPartitionParts {
  readonly cluster: KafkaCluster;
  readonly fetcher: Fetcher;
  readonly topic: string;
  readonly partition: number;
  readonly compression: Compression;
  /** Replicas that must have an entry before it counts, as the topic says. */
  readonly minInSync: number;
  readonly onClose: () => Promise<void>;
}

const earliest = -2n;
const latest = -1n;
const allReplicas = -1;
/** How long the slowest replica may take, ms: less than an answer may. */
const produceTimeout = 4000;
const deleteTimeout = 4000;
/** How often a read is made again whose connection went, or whose partition moved. */
const attemptsMost = 8;
const pauseAfterError = 100;

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

/** One partition of a Kafka topic. Offsets are Kafka's and one more: the log counts from 1. */
export class KafkaPartition implements BrokerPartition {
  readonly #parts: KafkaPartitionParts;
  readonly #epochs: Epochs;

  constructor(parts: KafkaPartitionParts) {
    this.#parts = parts;
    this.#epochs = new Epochs(parts.cluster, parts.topic, parts.partition);
  }

  /** Tries until it is there, or the connections are closed: one that was just made moves about for a moment. */
  async open(): Promise<PartitionState> {
    const { cluster } = this.#parts;
    for (let why: unknown; ; ) {
      try {
        return await this.state();
      } catch (error) {
        if (cluster.reader.isClosed) throw why ?? error;
        why = error;
      }
      await new Promise<void>(resolve => systemClock.after(pauseAfterError, resolve));
    }
  }

  async state(): Promise<PartitionState> {
    const { cluster, topic, partition } = this.#parts;
    const place = await cluster.locate(topic, partition);
    const floor = await this.#offsetOf(place, earliest);
    const end = await this.#offsetOf(place, latest);
    const epochs = await this.#epochs.list(place, Number(floor), Number(end));
    const id = createHash('sha256').update(`${place.topicId} ${partition}`).digest('hex').slice(0, 12);
    return { id, epochs, floor: Number(floor), head: Number(end), bytes: await this.#bytes(place) };
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

  follow(after: number, listener: PartitionListener): Following {
    const { fetcher, topic, partition } = this.#parts;
    return fetcher.follow({ topic, partition, after, listener, state: () => this.state() });
  }

  read(after: number, to: number, maxBytes: number): Promise<PartitionRead> {
    const { cluster, topic, partition } = this.#parts;
    let from = after;
    return this.#again(async () => {
      const place = await cluster.place(topic, partition);
      const wanted = { topic, partition, place, from: BigInt(from), maxBytes };
      const [fetched] = await fetchFrom(cluster.reader, [wanted], waitMost);
      if (fetched!.errorCode !== 0) {
        const { floor, head } = await this.state();
        if (floor > from) from = Math.min(floor, to);
        if (from >= to) return { after: from, entries: [], next: from };
        throw new Error(`error ${fetched!.errorCode} reading behind offset ${from}; the partition goes up to ${head}`);
      }
      const next = Number(fetched!.next);
      if (next <= from) throw new Error(`nothing is to be read behind offset ${from}`);
      const entries = next <= to ? fetched!.entries : fetched!.entries.filter(({ offset }) => offset <= to);
      return { after: from, entries, next: Math.min(next, to) };
    });
  }

  firstSince(time: number): Promise<number | undefined> {
    const { cluster, topic, partition } = this.#parts;
    return this.#again(async () => {
      const found = await this.#offsetOf(await cluster.place(topic, partition), BigInt(Math.max(0, Math.floor(time))));
      return found < 0n ? undefined : Number(found) + 1;
    });
  }

  async trim(offset: number): Promise<void> {
    const { cluster, topic, partition } = this.#parts;
    const { floor } = await this.state();
    if (offset <= floor) return;
    await this.#again(async () => {
      const place = await cluster.place(topic, partition);
      const partitions = [{ partitionIndex: partition, offset: BigInt(offset) }];
      await cluster.askLeader(place, 'DeleteRecords', () => [[{ name: topic, partitions }], deleteTimeout]);
    });
  }

  async probe(): Promise<void> {
    const { cluster, topic, partition, minInSync } = this.#parts;
    const place = await cluster.locate(topic, partition);
    if (place.inSync < minInSync)
      throw new Error(
        `${place.inSync} of ${place.replicas} replicas are in sync, and min.insync.replicas is ${minInSync}`,
      );
    await this.#offsetOf(place, latest);
  }

  close(): Promise<void> {
    return this.#parts.onClose();
  }

  /** Offset of the first entry of at least this time, or as `earliest` and `latest` say. */
  async #offsetOf(place: Place, timestamp: bigint): Promise<bigint> {
    const { cluster, topic, partition } = this.#parts;
    const partitions = [{ partitionIndex: partition, currentLeaderEpoch: place.leaderEpoch, timestamp }];
    const answer = await cluster.askLeader<Offsets>(place, 'ListOffsets', () => [-1, 0, [{ name: topic, partitions }]]);
    return answer.topics[0]!.partitions[0]!.offset;
  }

  /** On the leader's disk; 0 where this user may not ask. */
  async #bytes(place: Place): Promise<number> {
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

  /** Reads change nothing: one whose connection went, or whose partition moved, is made again. */
  async #again<T>(task: () => Promise<T>): Promise<T> {
    const { cluster, topic, partition } = this.#parts;
    for (let attempt = 1; ; attempt++) {
      try {
        return await task();
      } catch (error) {
        cluster.forgetPlace(topic, partition);
        if (attempt === attemptsMost || cluster.reader.isClosed)
          throw new TailraceError('engine_unavailable', `Kafka does not answer reads: ${reasonOf(error)}`, {
            retryAfter: 5000,
          });
      }
      await new Promise<void>(resolve => systemClock.after(pauseAfterError, resolve));
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

interface Offsets {
  readonly topics: readonly { readonly partitions: readonly { readonly offset: bigint }[] }[];
}

interface Sizes {
  readonly results: readonly {
    readonly topics: readonly { readonly partitions: readonly { readonly partitionSize: bigint }[] }[];
  }[];
}
