import type { EpochStart } from '../../log/epoch-list.ts';
import type { KafkaCluster, Place } from './cluster.ts';

/** Epochs that are told at most: the newest. */
const most = 1000;

/**
 * The epochs of a partition: each time another broker leads it, or the same one anew, an epoch begins. Kafka tells for an
 * epoch where it ended; one in which nothing was appended is told as the one before it. So the list is found from its end.
 */
export class Epochs {
  readonly #cluster: KafkaCluster;
  readonly #topic: string;
  readonly #partition: number;
  /** Kafka's own numbers and offsets, oldest first. */
  #known: EpochStart[] = [];
  #topicId = '';

  constructor(cluster: KafkaCluster, topic: string, partition: number) {
    this.#cluster = cluster;
    this.#topic = topic;
    this.#partition = partition;
  }

  /** As the log counts them. `floor` and `end` are the partition's, in Kafka's counting. */
  async list(place: Place, floor: number, end: number): Promise<readonly EpochStart[]> {
    if (place.topicId !== this.#topicId) this.#known = [];
    this.#topicId = place.topicId;
    const newest = this.#known[this.#known.length - 1];
    if (newest === undefined || newest.epoch < place.leaderEpoch) await this.#find(place, floor, end);
    const starts = this.#known.map(({ epoch, first }) => ({ epoch: epoch + 1, first: first + 1 }));
    const [oldest] = starts;
    // a cursor from before the first record stays one, whoever leads
    if (oldest !== undefined && oldest.first === 1 && oldest.epoch > 1) starts.unshift({ epoch: 1, first: 1 });
    return starts;
  }

  async #find(place: Place, floor: number, end: number): Promise<void> {
    const found: EpochStart[] = [];
    // where the epoch that was found before begins, and its number
    let begins = end;
    let number = place.leaderEpoch;
    const own = await this.#endOf(place, number - 1);
    if (own === undefined) {
      this.#known = [{ epoch: number, first: floor }];
      return;
    }
    begins = own.end;
    for (let older: { readonly epoch: number; readonly end: number } | undefined = own; ; ) {
      found.push({ epoch: number, first: begins });
      if (older === undefined || found.length === most) break;
      const kept = this.#known.findIndex(({ epoch }) => epoch === older!.epoch);
      if (kept !== -1) {
        found.push(...this.#known.slice(0, kept + 1).reverse());
        break;
      }
      number = older.epoch;
      older = await this.#endOf(place, number - 1);
      begins = older?.end ?? floor;
    }
    this.#known = found.reverse().slice(-most);
  }

  /** The newest epoch up to `epoch` that has entries, and where it ends; undefined when there is none. */
  async #endOf(place: Place, epoch: number): Promise<{ readonly epoch: number; readonly end: number } | undefined> {
    if (epoch < 0) return undefined;
    const partition = { partitionIndex: this.#partition, currentLeaderEpoch: place.leaderEpoch, leaderEpoch: epoch };
    const answer = await this.#cluster.askLeader<Answer>(place, 'OffsetForLeaderEpoch', () => [
      -1,
      [{ name: this.#topic, partitions: [partition] }],
    ]);
    const { leaderEpoch, endOffset } = answer.topics[0]!.partitions[0]!;
    return leaderEpoch < 0 || endOffset < 0n ? undefined : { epoch: leaderEpoch, end: Number(endOffset) };
  }
}

interface Answer {
  readonly topics: readonly {
    readonly partitions: readonly { readonly leaderEpoch: number; readonly endOffset: bigint }[];
  }[];
}
