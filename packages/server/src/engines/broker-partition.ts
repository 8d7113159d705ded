import type { EpochStart } from '../log/epoch-list.ts';

/**
 * One ordered sequence of entries in a broker: a partition of a Kafka topic, a stream of JetStream. `BrokerLog` makes a log
 * of it. The broker orders and keeps; it knows nothing of what an entry means.
 *
 * Offsets begin at 1, strictly increase and are never reused inside an epoch. They are not dense. An entry is given out
 * (by `read` and `follow`) once the broker has committed it: then all nodes see it, at the same offset.
 */
export interface BrokerPartition {
  /** Connects, makes the partition if it is missing and may be made, and tells where it stands. */
  open(): Promise<PartitionState>;

  /** Asks the broker where the partition stands. */
  state(): Promise<PartitionState>;

  /**
   * Appends in this order; resolves with their offsets once the broker has committed them as it promises. Rejects with
   * `outcome_unknown` when some of them may have been appended, or may yet be; with `log_full`, `engine_unavailable` and
   * any other when none was. `BrokerLog` sends the same again until its own tail brings them: repeats are void, so that a
   * partition may make sure that each is appended once and need not.
   */
  append(entries: readonly NewEntry[]): Promise<readonly number[]>;

  /** Follows what comes beyond `after`, over any number of lost connections, until closed. One follower at a time. */
  follow(after: number, listener: PartitionListener): Following;

  /** Entries in (after, to], in order, about `maxBytes` of them, at least one if there is any. */
  read(after: number, to: number, maxBytes: number): Promise<PartitionRead>;

  /** Offset of the first entry with time ≥ `time`; undefined when there is none. */
  firstSince(time: number): Promise<number | undefined>;

  /** Removes entries with offset ≤ `offset`, or as many of them as the broker lets go of at once. */
  trim(offset: number): Promise<void>;

  /** A round trip that proves that the broker serves this partition; rejects with what is wrong. */
  probe(): Promise<void>;

  close(): Promise<void>;
}

export interface PartitionState {
  /** 4–16 characters of [a-z0-9]; another for every other partition, and when it was deleted and made anew. */
  readonly id: string;
  /** All that are known, oldest first. */
  readonly epochs: readonly EpochStart[];
  /** Entries with offset ≤ floor are gone. */
  readonly floor: number;
  /** Offset of the newest committed entry; when there is none, of the last that there was. */
  readonly head: number;
  /** What it takes on the broker's disks, as far as the broker tells. */
  readonly bytes: number;
}

export interface NewEntry {
  /** ms since 1970 UTC. */
  readonly time: number;
  readonly bytes: Buffer;
}

export interface Entry extends NewEntry {
  readonly offset: number;
}

/** Whose the time of an entry is when it is read: that of who appended it, or of the broker, when it took it. */
export type EntryTimes = 'writer' | 'broker';

export interface PartitionRead {
  /** Where reading truly began: greater than asked when the broker has removed what lay between. */
  readonly after: number;
  readonly entries: readonly Entry[];
  /** Everything in (after, next] is in `entries`. */
  readonly next: number;
}

export interface PartitionListener {
  /**
   * Consecutive. The first of an epoch comes behind a state that names the epoch. `head`: so far the broker had committed
   * when it sent them, or farther. Must not throw.
   */
  onEntries(entries: readonly Entry[], head: number): void;
  /** After each new connection and every few seconds: where the partition stands. It may have lost its newest entries. */
  onState(state: PartitionState): void;
  /** The broker cannot be followed just now, for people; it goes on by itself. */
  onTrouble(reason: string): void;
}

export interface Following {
  /** How long the broker has been silent, ms; a read that finds nothing is answered too. */
  readonly silence: number;
  /** What follows `offset` comes (again). */
  goBack(offset: number): void;
  close(): Promise<void>;
}
