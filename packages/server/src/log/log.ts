import type { FilterSet, Message } from '@tailrace/protocol';
import type { LogCapabilities } from './capabilities.ts';
import type { Deletions } from './deletions.ts';
import type { HotTail } from './hot-tail.ts';
import type { Places } from './places.ts';
import type { LogRecord, RecordSource, StoredDurability } from './record.ts';
import type { RecordBatch } from './record-batch.ts';
import type { OffsetRange } from './report.ts';
import type { SharedLog, TailLag } from './shared-log.ts';
import type { Tables } from './tables.ts';
import type { Tokens } from './tokens.ts';

/**
 * One ordered, append-only sequence of records: the seam under everything (design §6, §8). An engine with several
 * partitions has one `Log` for each, of which `WovenLog` makes one.
 *
 * The contract, which `test/log/contract.ts` runs against every implementation:
 * - Offsets begin at 1, strictly increase and are never reused inside an epoch. They are not dense.
 * - A record is visible (to `head`, `hot`, `read`, `tail`) only once it is committed, in offset order (I2): its own
 *   durability is met and everything before it is committed.
 * - `append` resolves after that commit; the order of calls is the order of offsets. A rejected append was not appended,
 *   unless the error is `outcome_unknown`.
 * - A message that expects something of its key is judged by the committed records and by all appends before its own. When
 *   the keys of its topic have to be read first, the append waits, and so do later ones to its topics; others go ahead.
 * - Every start begins a new epoch at head + 1, known durably before its first record. Epoch numbers only grow.
 * - What is no longer there is told, never skipped silently: a `Slice` that begins later than asked says where, and one
 *   from which rules have dropped something says up to where (I4).
 * - Damaged data is never given out: whatever has to read it rejects with `log_damaged`, which names the place.
 * - After a failed write or sync the log is fenced (I9): appends fail with `log_fenced`, reads go on.
 */
export interface Log {
  /** 4–16 characters of [a-z0-9]; the same for the life of the log, different for every other log. */
  readonly id: string;
  readonly capabilities: LogCapabilities;
  readonly tokens: Tokens;
  readonly places: Places;
  /** The newest committed records, in memory: read without waiting. */
  readonly hot: HotTail;
  /** The newest committed position; offset 0 and time 0 for a log that never held a record. */
  readonly head: Position;
  /** Records with offset > floor are all still here; a cursor below it has missed some. */
  readonly floor: number;
  /** Stretches of offsets whose loss an operator accepted: a reader from below one of them has missed it. */
  readonly lost: readonly OffsetRange[];
  /**
   * How often it lost its newest records while it ran, as a server may that fails over: what was read of it before may
   * not be in it any more, and offsets beyond the head come again. `TailListener.onRewind` tells.
   */
  readonly rewinds: number;
  /** Counts what retention and rules have removed: what was kept of an earlier read may hold what is gone since. */
  readonly removals: number;
  /** Questions by which an outage of the server behind the log is noticed; none for a log of this machine. */
  readonly probes: readonly EngineProbe[];
  /** Carries what is in no log to the other nodes of a shared one; undefined for a log of one node. */
  readonly live: LiveChannel | undefined;
  /** Missing for a log of one node. */
  readonly shared?: SharedLog | undefined;
  /** Topics of other systems that are part of it; missing where there are none. */
  readonly bridge?: Bridge | undefined;
  readonly status: LogStatus;
  readonly memory: LogMemory;
  readonly tables: Tables;
  /** What is deleted for good, as long as readers have to be told of it otherwise than by marks. */
  readonly deletions: Deletions;

  /**
   * Appends in order and stops at the first message that cannot be taken. One entry per message: a result, or the error
   * of the first that failed; those after it are missing. Rejects only when nothing of the batch was appended
   * (`log_full`, `log_fenced`, `overloaded`) or when it cannot be known (`outcome_unknown`).
   */
  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]>;

  /** Calls `listener` with each batch at its commit, in order, before the appends of the batch resolve. */
  tail(listener: TailListener): () => void;

  /** Reads on from `after` (exclusive) to at most `to` (inclusive): see Slice. It ends before damage; one that begins there is `log_damaged`. */
  read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice>;

  /** Offsets of the newest `count` records of each matching topic with offset ≤ `to`, ascending (P1). */
  newest(filters: FilterSet, count: number, to: number): Promise<Float64Array>;

  /**
   * The records that make up what is current: of a table the newest of each key that is not deleted, and of those without
   * a key; of any other topic the newest. As of a moment during the call, or of `to`: then what a key was is left out
   * when it has changed since, for the change follows `to`. So may what changed while a very long call ran.
   */
  current(filters: FilterSet, to?: Position): Promise<Current>;

  /** Offset of the newest record of a key, 0 when there is none or it deletes the key. */
  keyAt(topic: string, key: string): Promise<number>;

  /**
   * The records at `offsets`, which ascend: at most about `maxBytes` of them, at least one if any is there. Like a slice
   * they end before one that is gone, and begin behind those that are gone at the beginning.
   */
  recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]>;

  /** The greatest position all of whose records are older than `time` (ms): where a reader from that time begins. */
  positionAt(time: number): Promise<Position>;

  /** The position of `offset` itself, which need not hold a record; its time is that of the newest record at or below. */
  positionOf(offset: number): Promise<Position>;

  /**
   * What rules or deletions of topics have dropped beyond `after` of what matches; with `to` only of stretches that begin
   * before, of which it may lie beyond. Answers at once where nothing at all was.
   */
  droppedAfter(after: number, filters: FilterSet, to?: number): Dropped | Promise<Dropped>;

  /**
   * The last offset at which a cursor of `epoch` still means what it meant: the one before the next epoch's first, or
   * the head for the running epoch. Undefined for an epoch this log never had.
   */
  endOf(epoch: number): number | undefined;

  /**
   * Resolves when all is known here that the log held when this was called, or when that cannot be had: other nodes may have
   * read more already than has come to this one. Undefined for a log of one node.
   */
  upToDate(): Promise<void> | undefined;

  /** Offset of the record that ended this topic, 0 for one that goes on or whose end is gone again; may be above the head. */
  endedAt(topic: string): number;

  /** The epoch in which `offset` was, or would next be, appended. */
  epochOf(offset: number): number;

  /** Topics that hold records, in order, beginning after `after`, at most `limit`; by what the newest segments know. */
  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]>;

  /** Drops whole stretches of records with offset ≤ `offset` and raises the floor as far as that went. */
  trim(offset: number): Promise<void>;

  /**
   * Deletes the records of an exact topic for good, up to the head of a moment during the call. Once it resolves, no read
   * that begins gives them any more, nor after any crash; the bytes go from the files in the time that follows. Who reads
   * on from below is told (`Dropped`). What is published to the topic later begins anew, with the same ids if need be.
   */
  deleteTopic(topic: string): Promise<Deleted>;

  /** Syncs, seals what the next start needs, and releases everything. Appends already made are settled first. */
  close(): Promise<void>;
}

/** Topics of other systems: they are read here like all others, and nobody publishes to them. */
export interface Bridge {
  has(topic: string): boolean;
  /** How far this node is behind what is there, source by source. */
  readonly tails: readonly TailLag[];
}

/** Messages of class `none` between nodes: at most once, and what was lost on the way is counted. */
export interface LiveChannel {
  /** Messages that this node knows to have missed. */
  readonly lost: number;
  /** Hands a message to all other nodes that can be reached just now; the listener does not get it. */
  send(message: Message): void;
  /** Takes what other nodes send; must not throw. */
  listen(listener: (message: RecordSource) => void): () => void;
}

/** A question to the server behind a shared log. */
export interface EngineProbe {
  /** For people: `round trip`. */
  readonly name: string;
  /** An answer that takes longer is slow, ms. */
  readonly slowMs: number;
  /** Resolves when the server is all right; rejects with what is not. */
  run(): Promise<void>;
}

export interface Position {
  readonly epoch: number;
  readonly offset: number;
  /** ms since 1970 UTC of the newest record at or below `offset`; 0 before the first. */
  readonly time: number;
}

export interface Current {
  readonly to: Position;
  /** Ascending. */
  readonly offsets: Float64Array;
}

export interface Deleted {
  /** The newest record that is deleted; undefined when the topic had none. */
  readonly upTo: (Position & Pick<Appended, 'partition'>) | undefined;
  /** Files still hold some of it. */
  readonly pending: boolean;
}

export interface Appended {
  /** What clients are told: of a log of several partitions the offset in its own. */
  readonly offset: number;
  readonly time: number;
  /** Where there are several. */
  readonly partition?: number;
  /** True: a record with the same id, or producer and sequence, was there already, and this is its offset. */
  readonly duplicate: boolean;
}

/** `topic_ended`, `sequence_too_old`, `expect_failed`: the message cannot be taken, whatever the disk does. */
export interface AppendFailure {
  readonly error: Error;
}

export interface Slice {
  /** Where reading truly began: greater than asked when retention removed what lay between. */
  readonly after: number;
  /** Matching records in offset order, at most about `maxBytes` of them, at least one if there is any. */
  readonly records: readonly LogRecord[];
  /** The log has been read up to here: all matching records with offset in (after, next] are in `records`. */
  readonly next: number;
  /** Time of the newest record at or below `next`, matching or not. */
  readonly time: number;
  /**
   * What rules have dropped of what matches, where this stretch lies: something beyond `after` when it is higher. It may
   * reach beyond `next`. The records that are left follow all the same.
   */
  readonly dropped: Dropped;
  /** Something of this stretch itself is gone, although it begins where it was asked for: `dropped` says up to where. */
  readonly lacks?: boolean;
}

/** Highest offsets that rules have dropped (see `keep` in CommonLogOptions): of any record, and of a deletion; 0 for none. */
export interface Dropped {
  readonly records: number;
  readonly deletions: number;
}

export const nothingDropped: Dropped = Object.freeze({ records: 0, deletions: 0 });

/** The higher of both. */
export function laterDropped(one: Dropped, other: Dropped): Dropped {
  if (other.records <= one.records && other.deletions <= one.deletions) return one;
  return { records: Math.max(one.records, other.records), deletions: Math.max(one.deletions, other.deletions) };
}

export interface TailListener {
  /** `records` are consecutive and committed; the log's head is the last of them. Must not throw. */
  onCommit(batch: RecordBatch): void;
  /** What is appended from now is of another epoch, although nothing is lost. Must not throw. */
  onEpoch?(): void;
  /** The newest records are lost; the head has gone back. Must not throw. */
  onRewind?(): void;
}

export interface TopicInfo {
  readonly topic: string;
  readonly lastOffset: number;
  /** Time of the newest record, ms since 1970 UTC. */
  readonly lastTime: number;
}

export interface LogStatus {
  /** `full`: no space, resumes by itself; `fenced`: needs a restart. */
  readonly state: 'open' | 'full' | 'fenced' | 'closed';
  /** What went wrong, for people. */
  readonly reason: string | undefined;
  readonly segments: number;
  /** Bytes of the log on disk (or in memory). */
  readonly bytes: number;
  /** Records and bytes handed to append and not committed yet. */
  readonly pendingRecords: number;
  readonly pendingBytes: number;
  /** Commits so far, records in them, and the time each took (ms) as a running histogram fed to metrics. */
  readonly commits: number;
  /** Bytes that retention by age would remove and does not, since the clock may be wrong. */
  readonly retentionWaitingBytes: number;
  /** Deleted topics of which files still hold records. */
  readonly deletionsPending: number;
  /** Reads so far that were refused as `log_damaged`. */
  readonly damagedReads: number;
  readonly scrub: ScrubStatus;
}

/** What a log remembers beside its records, and what it had no room for since it was opened. */
export interface LogMemory {
  /** What repeated publishes are recognised by. */
  readonly ids: number;
  readonly producers: number;
  /** Ids younger than `dedupe.ageMs`, and producers, that were forgotten for want of room. */
  readonly idsCutShort: number;
  readonly producersCutShort: number;
  readonly endedTopics: number;
  /** Ends forgotten for want of room. */
  readonly endedCutShort: number;
  /** Topics whose keys are in memory, what these take, and how often keys were read from the log. */
  readonly tables: number;
  readonly tableBytes: number;
  readonly tableLoads: number;
}

/** How far complete stretches of the log are re-read in the background. */
export interface ScrubStatus {
  /** Bytes re-read so far. */
  readonly bytes: number;
  /** Damaged places met by it so far. */
  readonly damages: number;
  /** Part of the log behind the place where it reads, 0 to 1. */
  readonly progress: number;
}
