import { createHash } from 'node:crypto';
import { TailraceError } from '@tailrace/protocol';
import { systemClock } from '../../log/clock.ts';
import type { Following, PartitionListener, PartitionRead, PartitionState } from '../broker-partition.ts';
import { type KafkaCluster, type Place, waitMost } from './cluster.ts';
import { Epochs } from './epochs.ts';
import { reasonOf } from './errors.ts';
import { fetchFrom } from './fetch.ts';
import type { Fetcher } from './fetcher.ts';

export interface KafkaSourceParts {
  readonly cluster: KafkaCluster;
  readonly fetcher: Fetcher;
  readonly topic: string;
  readonly partition: number;
  readonly onClose: () => Promise<void>;
  /** Told where the partition is, each time that is asked. */
  readonly onLocated?: (place: Place) => void;
}

const earliest = -2n;
const latest = -1n;
/** How often a read is made again whose connection went, or whose partition moved. */
const attemptsMost = 8;
const pauseAfterError = 100;

/** One partition of a Kafka topic, as it is read. Offsets are Kafka's and one more: the log counts from 1. */
export class KafkaSource {
  protected readonly source: KafkaSourceParts;
  readonly #epochs: Epochs;

  constructor(source: KafkaSourceParts) {
    this.source = source;
    this.#epochs = new Epochs(source.cluster, source.topic, source.partition);
  }

  /** Tries until it is there, or the connections are closed: one that was just made moves about for a moment. */
  async open(): Promise<PartitionState> {
    const { cluster } = this.source;
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
    const { cluster, topic, partition } = this.source;
    const place = await cluster.locate(topic, partition);
    this.source.onLocated?.(place);
    const floor = await this.#offsetOf(place, earliest);
    const end = await this.#offsetOf(place, latest);
    const epochs = await this.#epochs.list(place, Number(floor), Number(end));
    const id = createHash('sha256').update(this.identity(place)).digest('hex').slice(0, 12);
    return { id, epochs, floor: Number(floor), head: Number(end), bytes: await this.bytes(place) };
  }

  follow(after: number, listener: PartitionListener): Following {
    const { fetcher, topic, partition } = this.source;
    return fetcher.follow({ topic, partition, after, listener, state: () => this.state() });
  }

  read(after: number, to: number, maxBytes: number): Promise<PartitionRead> {
    const { cluster, fetcher, topic, partition } = this.source;
    let from = after;
    return this.again(async () => {
      const place = await cluster.place(topic, partition);
      const wanted = { topic, partition, place, from: BigInt(from), to, maxBytes };
      const [fetched] = await fetchFrom(cluster.reader, fetcher.reading, [wanted], waitMost);
      if (fetched!.errorCode !== 0) {
        const { floor, head } = await this.state();
        if (floor > from) from = Math.min(floor, to);
        if (from >= to) return { after: from, entries: [], next: from };
        throw new Error(`error ${fetched!.errorCode} reading behind offset ${from}; the partition goes up to ${head}`);
      }
      const next = Number(fetched!.next);
      if (next <= from) throw new Error(`nothing is to be read behind offset ${from}`);
      const entries = next <= to ? fetched!.entries : fetched!.entries.filter(({ offset }) => offset <= to);
      return { after: from, entries, next: Math.min(next, to), missing: fetched!.missing };
    });
  }

  firstSince(time: number): Promise<number | undefined> {
    const { cluster, topic, partition } = this.source;
    return this.again(async () => {
      const found = await this.#offsetOf(await cluster.place(topic, partition), BigInt(Math.max(0, Math.floor(time))));
      return found < 0n ? undefined : Number(found) + 1;
    });
  }

  /** Resolves when the broker that leads it answers. */
  async probe(): Promise<void> {
    await this.newest(await this.locate());
  }

  close(): Promise<void> {
    return this.source.onClose();
  }

  protected locate(): Promise<Place> {
    return this.source.cluster.locate(this.source.topic, this.source.partition);
  }

  protected newest(place: Place): Promise<bigint> {
    return this.#offsetOf(place, latest);
  }

  /** Offset of the first entry of at least this time, or as `earliest` and `latest` say. */
  async #offsetOf(place: Place, timestamp: bigint): Promise<bigint> {
    const { cluster, fetcher, topic, partition } = this.source;
    const partitions = [{ partitionIndex: partition, currentLeaderEpoch: place.leaderEpoch, timestamp }];
    const answer = await cluster.askLeader<Offsets>(place, 'ListOffsets', () => [
      -1,
      fetcher.reading.committedOnly ? 1 : 0,
      [{ name: topic, partitions }],
    ]);
    return answer.topics[0]!.partitions[0]!.offset;
  }

  /** What makes it another one when it changes. */
  protected identity({ topicId }: Place): string {
    return topicId;
  }

  /** What it takes on the leader's disk; 0 where that is not asked. */
  protected bytes(_: Place): Promise<number> {
    return Promise.resolve(0);
  }

  /** Reads change nothing: one whose connection went, or whose partition moved, is made again. */
  protected async again<T>(task: () => Promise<T>): Promise<T> {
    const { cluster, topic, partition } = this.source;
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

interface Offsets {
  readonly topics: readonly { readonly partitions: readonly { readonly offset: bigint }[] }[];
}
