import type { KeepRule } from './keep-rules.ts';
import type { LogReport } from './report.ts';

/** How much is kept. A log without `age` and `bytes` keeps everything. */
export interface RetentionOptions {
  /** Records older than this many ms may go; undefined keeps them whatever their age. */
  readonly age?: number | undefined;
  /** Bytes of log above which the oldest stretches go; undefined: no limit. */
  readonly bytes?: number | undefined;
  /** A sweep soon after the start that would remove more than a tenth of the log by age waits this many ms. */
  readonly graceMs?: number | undefined;
}

/**
 * What is kept of topics, beside what retention leaves. On disk sealed segments are rewritten without the rest, in time;
 * in memory nothing more goes. Either way the rules say which topics are tables.
 */
export interface KeepOptions {
  /** For each topic the first rule whose filter matches decides; without one everything is kept. */
  readonly rules: readonly KeepRule[];
  /** A deletion (key and no data) under `lastPerKey` is kept at least this many ms. */
  readonly tombstoneAgeMs?: number | undefined;
}

/** How long a repeated publish is recognised (protocol.md §1). */
export interface DedupeOptions {
  /** Newest ids remembered whatever their age. */
  readonly ids?: number | undefined;
  /** Ids younger than this many ms are remembered too, as far as `limit` allows. */
  readonly ageMs?: number | undefined;
  /** Most ids remembered at all. */
  readonly limit?: number | undefined;
  /** Most producers remembered; the one unused for longest is forgotten first. */
  readonly producers?: number | undefined;
}

/** How complete segments are re-read in the background. */
export interface ScrubOptions {
  /** Time for the whole log once, ms; 0: never. */
  readonly intervalMs: number;
  /** Most bytes read a second, however large the log is. */
  readonly bytesPerSecond: number;
}

/** What may wait for its commit; beyond it appends are refused as `overloaded`. */
export interface PendingOptions {
  readonly bytes?: number | undefined;
  readonly records?: number | undefined;
}

export interface CommonLogOptions {
  /** Bytes of newest records kept in memory. */
  readonly hotBytes?: number | undefined;
  /** Largest encoded record, in bytes; at most 32 MiB. */
  readonly recordBytes?: number | undefined;
  readonly retention?: RetentionOptions | undefined;
  readonly dedupe?: DedupeOptions | undefined;
  readonly pending?: PendingOptions | undefined;
  /** Topics whose end is remembered; the one ended longest ago is forgotten first. */
  readonly endedTopics?: number | undefined;
  readonly keep?: KeepOptions | undefined;
  /** Bytes of memory for the keys of topics whose keys were asked for lately; a compaction takes as many again. */
  readonly keyIndexBytes?: number | undefined;
  /** What the operator should read: cut tails, full disks, what retention removed. Must not throw. */
  readonly onReport?: ((report: LogReport) => void) | undefined;
  /** Called at each commit, for metrics: ms from the first append of the batch to its commit. Must not throw. */
  readonly onCommitStats?: ((durationMs: number, records: number, bytes: number) => void) | undefined;
}

const MiB = 1024 * 1024;

interface LogDefaults {
  readonly segmentBytes: number;
  readonly hotBytes: number;
  readonly recordBytes: number;
  readonly recordBytesHard: number;
  /** `retention.graceMs`. */
  readonly graceMs: number;
  /** How often retention looks, in ms. */
  readonly sweepMs: number;
  readonly dedupe: { readonly ids: number; readonly ageMs: number; readonly limit: number; readonly producers: number };
  readonly pending: { readonly bytes: number; readonly records: number };
  readonly endedTopics: number;
  readonly keyIndexBytes: number;
  readonly keep: {
    readonly tombstoneAgeMs: number;
    readonly share: number;
    readonly everyMs: number;
  };
}

/** Every default of a log in one place. */
export const logDefaults: LogDefaults = Object.freeze({
  segmentBytes: 64 * MiB,
  hotBytes: 64 * MiB,
  recordBytes: 8 * MiB,
  recordBytesHard: 32 * MiB,
  graceMs: 60 * 60 * 1000,
  sweepMs: 10_000,
  dedupe: Object.freeze({ ids: 100_000, ageMs: 5 * 60 * 1000, limit: 400_000, producers: 10_000 }),
  pending: Object.freeze({ bytes: 64 * MiB, records: 500_000 }),
  endedTopics: 1_000_000,
  keyIndexBytes: 64 * MiB,
  /** `share`: how much of a segment must go before it is rewritten. `everyMs`: how often segments are looked through. */
  keep: Object.freeze({ tombstoneAgeMs: 24 * 60 * 60 * 1000, share: 0.25, everyMs: 60_000 }),
});
