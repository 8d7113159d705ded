import type { Clock } from '../../log/clock.ts';
import type { Following, PartitionListener, PartitionState } from '../broker-partition.ts';
import type { KafkaClient } from './client.ts';
import { type KafkaCluster, type Place, waitMost } from './cluster.ts';
import { reasonOf } from './errors.ts';
import { type Fetched, fetchFrom } from './fetch.ts';

/** Bytes of one read of one partition, about. */
const fetchBytes = 2 * 1024 * 1024;
const pauseAfterError = 100;
/** How often what is known of a partition is compared with the broker, ms. */
const stateEvery = 5000;

export interface FollowParts {
  readonly topic: string;
  readonly partition: number;
  readonly after: number;
  readonly listener: PartitionListener;
  readonly state: () => Promise<PartitionState>;
}

/** One partition that is followed. */
class Followed implements Following {
  readonly parts: FollowParts;
  /** In Kafka's counting: what is read next. */
  next: bigint;
  place: Place | undefined;
  /** Counts what makes a read that is under way worth nothing. */
  turn = 0;
  stateAt = Number.NEGATIVE_INFINITY;
  /** Up to which epoch of the leader the listener has been told. */
  toldEpoch = -1;
  answeredAt: number;
  isBusy = false;
  isClosed = false;
  readonly #clock: Clock;
  readonly #onClose: () => void;

  constructor(parts: FollowParts, clock: Clock, onClose: () => void) {
    this.parts = parts;
    this.#clock = clock;
    this.#onClose = onClose;
    this.next = BigInt(parts.after);
    this.answeredAt = clock.monotonic();
  }

  get silence(): number {
    return this.#clock.monotonic() - this.answeredAt;
  }

  goBack(offset: number): void {
    this.turn++;
    this.next = BigInt(offset);
  }

  close(): Promise<void> {
    this.isClosed = true;
    this.#onClose();
    return Promise.resolve();
  }
}

/** A reader of this node: follows all partitions that it is given, with one request at a time to each broker. */
export class Fetcher {
  readonly #cluster: KafkaCluster;
  readonly #client: KafkaClient;
  readonly #clock: Clock;
  readonly #followed = new Set<Followed>();
  /** Brokers with a request under way: they answer one after another, and a second would wait as long as the first may. */
  readonly #asked = new Set<string>();

  /** `client`: one of the cluster, over which nothing else is asked. */
  constructor(cluster: KafkaCluster, client: KafkaClient, clock: Clock) {
    this.#cluster = cluster;
    this.#client = client;
    this.#clock = clock;
  }

  follow(parts: FollowParts): Following {
    const followed = new Followed(parts, this.#clock, () => this.#followed.delete(followed));
    this.#followed.add(followed);
    this.#goOn();
    return followed;
  }

  /** Begins a read of all that waits for none, a broker at a time. */
  #goOn(): void {
    const byLeader = new Map<string, Followed[]>();
    for (const followed of this.#followed) {
      if (followed.isBusy) continue;
      if (followed.place === undefined || this.#clock.monotonic() - followed.stateAt >= stateEvery) {
        void this.#whileBusy([followed], () => this.#checkState(followed));
        continue;
      }
      const { host, port } = followed.place.leader;
      const key = `${host}:${port}`;
      byLeader.set(key, [...(byLeader.get(key) ?? []), followed]);
    }
    for (const [leader, some] of byLeader) {
      if (this.#asked.has(leader)) continue;
      this.#asked.add(leader);
      void this.#whileBusy(some, () => this.#fetch(some).finally(() => this.#asked.delete(leader)));
    }
  }

  async #whileBusy(some: readonly Followed[], task: () => Promise<void>): Promise<void> {
    for (const followed of some) followed.isBusy = true;
    try {
      await task();
    } catch (error) {
      for (const followed of some) this.#lost(followed, error);
      await new Promise<void>(resolve => this.#clock.after(pauseAfterError, resolve));
    }
    for (const followed of some) followed.isBusy = false;
    this.#goOn();
  }

  #lost(followed: Followed, error: unknown): void {
    followed.place = undefined;
    if (!followed.isClosed) followed.parts.listener.onTrouble(reasonOf(error));
  }

  async #checkState(followed: Followed): Promise<void> {
    const { topic, partition, state, listener } = followed.parts;
    const told = await state();
    const place = await this.#cluster.place(topic, partition);
    if (followed.isClosed) return;
    followed.place = place;
    followed.toldEpoch = place.leaderEpoch;
    followed.stateAt = this.#clock.monotonic();
    listener.onState(told);
    // what was removed does not come any more
    if (followed.next < told.floor) followed.goBack(told.floor);
  }

  async #fetch(some: readonly Followed[]): Promise<void> {
    const turns = some.map(({ turn }) => turn);
    const wanted = some.map(({ parts, place, next }) => ({
      topic: parts.topic,
      partition: parts.partition,
      place: place!,
      from: next,
      maxBytes: fetchBytes,
    }));
    const fetched = await fetchFrom(this.#client, wanted, waitMost);
    for (const [i, followed] of some.entries()) {
      if (followed.isClosed || followed.turn !== turns[i]) continue;
      const { topic, partition } = followed.parts;
      const mine = fetched.find(one => one.topic === topic && one.partition === partition);
      if (mine !== undefined) await this.#take(followed, mine);
    }
  }

  async #take(followed: Followed, { errorCode, entries, next, head, leaderEpoch }: Fetched): Promise<void> {
    if (errorCode !== 0) {
      // it has moved, or does not go so far any more: the state tells
      const { topic, partition } = followed.parts;
      this.#cluster.forgetPlace(topic, partition);
      followed.place = undefined;
      await new Promise<void>(resolve => this.#clock.after(pauseAfterError, resolve));
      return;
    }
    followed.answeredAt = this.#clock.monotonic();
    if (leaderEpoch > followed.toldEpoch) {
      const { turn } = followed;
      await this.#checkState(followed);
      if (followed.turn !== turn) return;
    }
    followed.next = next;
    if (entries.length > 0) followed.parts.listener.onEntries(entries, head);
  }
}
