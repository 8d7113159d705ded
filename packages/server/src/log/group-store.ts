import type { LogRecord } from './record.ts';

/**
 * Work groups over one log: each record that a group's filters match goes to one member at a time, until one acks it.
 *
 * The contract, which `test/engines/group-contract.ts` runs against every implementation:
 * - A record that is claimed is nobody else's before its deadline, on whatever node they are, unless its member lets go.
 * - After the deadline, or when its member lets go, it is given again, with a count that is higher by one.
 * - An ack, an extension and a retry count only while the record is still the member's: they answer whether it was. So a
 *   member that comes too late learns it, and cannot ack what somebody else works on.
 * - A record that was acked is never given again. Members and nodes may die at any moment: nothing is lost by that.
 * - A record is claimed the first time in the order of the log. Nothing is promised of the order of acks.
 * - The store keeps offsets, never records: a record that is removed from the log is nobody's work any more.
 * - A log that loses its newest records (`Log.rewinds`) takes with it what the group had of them.
 */
export interface GroupStore {
  /** The group of this name, which is made if there is none. Rejects with `bad_request` when it has other filters. */
  open(name: string, options: GroupOptions): Promise<Group>;

  /** Forgets a group and what its members hold. */
  remove(name: string): Promise<void>;

  names(): Promise<readonly string[]>;

  /** Groups that are open on this node. */
  readonly opened: readonly Group[];
}

export interface GroupOptions {
  readonly filters: readonly string[];
  /** A group that is made begins behind this offset. */
  readonly after: number;
  /** How long a member has for a record it claimed, ms. */
  readonly ackDeadline?: number | undefined;
}

export const groupDefaults: { readonly ackDeadline: number; readonly pendingMost: number } = Object.freeze({
  ackDeadline: 5000,
  /** Records that a group holds unacked, at most: beyond it nothing new is claimed. */
  pendingMost: 10_000,
});

export interface Group {
  readonly name: string;
  readonly filters: readonly string[];

  /**
   * Up to `most` records for this member (a name that no other member of any node has): first those that are due again,
   * then new ones. None when there is nothing just now: then it is time to ask again when the log's tail brings something
   * or goes back, and after `dueIn`.
   */
  claim(member: string, most: number): Promise<Claim>;

  /** The work is done. One answer a record: whether it was still the member's. */
  ack(member: string, receipts: readonly Receipt[]): Promise<readonly boolean[]>;

  /** The work goes on: the deadline is `ms` from now, or the group's own again. */
  extend(member: string, receipts: readonly Receipt[], ms?: number): Promise<readonly boolean[]>;

  /** The member lets go: somebody (it may be the same) gets it after `delayMs`. */
  retry(member: string, receipts: readonly Receipt[], delayMs: number): Promise<readonly boolean[]>;

  status(): Promise<GroupStatus>;

  /** The status of a moment within the last quarter of a minute, when the server answered then. */
  readonly lastStatus: GroupStatus | undefined;

  /** Nothing more is claimed here; what members hold stays theirs until its deadline. */
  close(): Promise<void>;
}

/** Which delivery of which record. */
export interface Receipt {
  /** Where there are several; offsets of records are those in it. */
  readonly partition?: number;
  readonly epoch: number;
  readonly offset: number;
  /** 1 when it is given for the first time. */
  readonly count: number;
}

export interface Delivery extends Receipt {
  readonly record: LogRecord;
}

export interface Claim {
  readonly deliveries: readonly Delivery[];
  /** ms until the next record that is held now may be claimed again, if nobody acks it; undefined when none is held. */
  readonly dueIn: number | undefined;
}

export interface GroupStatus {
  /** Everything up to this offset was acked, is held, or does not match; the sum where there are several partitions. */
  readonly next: number;
  /** Records of the log behind it, whether they match or not. */
  readonly lag: number;
  /** How much older than the newest record of the log the last one is that was looked at, ms. */
  readonly lagMs: number;
  /** Records that were claimed and are not acked. */
  readonly pending: number;
  /** Of these, those that wait for a member: their deadline is over, or one let go of them. */
  readonly due: number;
  /** Offset of the oldest pending record; undefined when there is none, or there are several partitions. */
  readonly oldest: number | undefined;
  /** Records that were removed from the log before they were acked; of those that nobody had looked at all are counted. */
  readonly missed: number;
}
