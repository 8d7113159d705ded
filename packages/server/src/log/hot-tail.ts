import type { FilterSet } from '@tailrace/protocol';
import { HotMemory } from './hot-memory.ts';
import { HotTopics } from './hot-topics.ts';
import type { LogRecord } from './record.ts';
import { PickedBatch, type RecordBatch } from './record-batch.ts';
import { type TopicHash, topicHash } from './topic-hash.ts';

/**
 * The newest committed records in memory, in front of every engine. Everything newer than `base` is here, so a reader
 * whose cursor is at or above `base` never waits.
 *
 *      base                                          head
 *       │  ┌───────┬──────────────┬───┬─────────────┐ │
 *       ▼  │batch  │ batch        │   │ batch       │ ▼      batches as they were committed, each with its
 *  ────────┴───────┴──────────────┴───┴─────────────┘        distinct topics; `HotTopics` leads to the records of one
 */
export class HotTail {
  readonly maxBytes: number;
  /** For batches that will be pushed: they give it back when they are forgotten. */
  readonly memory: HotMemory;
  /** Offset (exclusive) above which every record is held. */
  base: number;
  /** Weight of the records held. */
  bytes = 0;
  #batches: RecordBatch[] = [];
  // batches before #first are dropped; compacted when half the array is dead, so that eviction stays O(1)
  #first = 0;
  /** Serial number of the first in the array: they are counted from the first that there ever was. */
  #firstSerial = 0;
  readonly #topics: HotTopics;

  /** `hash`: what the batches' topics are hashed by. */
  constructor(maxBytes: number, base: number, hash: TopicHash = topicHash) {
    this.maxBytes = maxBytes;
    this.memory = new HotMemory(maxBytes);
    this.base = base;
    this.#topics = new HotTopics(hash, serial => this.#batches[serial - this.#firstSerial]!);
  }

  /** Takes a committed batch; evicts the oldest batches beyond the budget. Hot. */
  push(batch: RecordBatch): void {
    this.#batches.push(batch);
    this.#topics.push(batch, this.#firstSerial + this.#batches.length - 1);
    this.bytes += batch.weight;
    // the newest batch always stays: what was just committed is about to be delivered
    while (this.bytes > this.maxBytes && this.#batches.length - this.#first > 1) this.#evict();
  }

  /** Forgets records with offset ≤ `offset`, batch by batch; for a log that trims what only memory holds. */
  trim(offset: number): void {
    while (this.#first < this.#batches.length && this.#batches[this.#first]!.last <= offset) this.#evict();
  }

  /** Forgets everything: what is pushed next follows `base`. */
  reset(base: number): void {
    this.base = base;
    this.bytes = 0;
    for (let b = this.#first; b < this.#batches.length; b++) this.#batches[b]!.release();
    this.#batches = [];
    this.#first = 0;
    this.#topics.drop(Number.POSITIVE_INFINITY);
  }

  /** Takes out the records of a topic with offset ≤ `upTo`. */
  remove(topic: string, upTo: number): void {
    const replaced = new Map<RecordBatch, RecordBatch | undefined>();
    for (let entry = this.#topics.newest(topic); entry !== -1; entry = this.#topics.before(entry)) {
      const batch = this.#topics.batch(entry);
      if (batch.first <= upTo) replaced.set(batch, withoutTopic(batch, topic, upTo));
    }
    if (replaced.size === 0) return;
    this.#topics.replace(replaced);
    const batches: RecordBatch[] = [];
    for (let b = this.#first; b < this.#batches.length; b++) {
      const batch = this.#batches[b]!;
      const left = replaced.has(batch) ? replaced.get(batch) : batch;
      if (left === undefined) {
        this.bytes -= batch.weight;
        batch.release();
      } else batches.push(left);
    }
    this.#batches = batches;
    this.#firstSerial += this.#first;
    this.#first = 0;
  }

  /** Topics with records in memory. */
  get topicCount(): number {
    return this.#topics.size;
  }

  get batchCount(): number {
    return this.#batches.length - this.#first;
  }

  /** Newest record of a topic held here. */
  newestOf(topic: string): LogRecord | undefined {
    const [offset] = this.newest(topic, 1, Number.POSITIVE_INFINITY);
    return offset === undefined ? undefined : this.at(offset);
  }

  /** Offsets of the newest `count` records of a topic with offset ≤ `to`, ascending, as far as they are held. */
  newest(topic: string, count: number, to: number): number[] {
    const topics = this.#topics;
    const found: number[] = [];
    for (let entry = topics.newest(topic); entry !== -1 && found.length < count; entry = topics.before(entry)) {
      const batch = topics.batch(entry);
      const offsets: number[] = [];
      for (let i = topics.recordOf(entry); i !== -1 && batch.offsetAt(i) <= to; i = batch.topics.after(i))
        offsets.push(batch.offsetAt(i));
      found.unshift(...offsets.slice(found.length - count));
    }
    return found;
  }

  /** The record at `offset`, when it is held. */
  at(offset: number): LogRecord | undefined {
    const batch = this.#batches[this.#batchAt(offset)];
    const index = batch?.indexAfter(offset - 1) ?? 0;
    return batch !== undefined && index < batch.count && batch.offsetAt(index) === offset
      ? batch.record(index)
      : undefined;
  }

  topics(): IterableIterator<string> {
    return this.#topics.names();
  }

  /** Time of the newest record at or below `offset`, or undefined when that lies below `base`. */
  timeAt(offset: number): number | undefined {
    const at = this.#batchAt(offset);
    for (let b = Math.min(at, this.#batches.length - 1); b >= this.#first; b--) {
      const batch = this.#batches[b]!;
      const index = batch.indexAfter(offset) - 1;
      if (index >= 0) return batch.timeAt(index);
    }
    return undefined;
  }

  /** Offset of the first record with time ≥ `time`, or undefined when none is held. */
  firstSince(time: number): number | undefined {
    let low = this.#first;
    let high = this.#batches.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      const batch = this.#batches[mid]!;
      if (batch.timeAt(batch.count - 1) < time) low = mid + 1;
      else high = mid;
    }
    const batch = this.#batches[low];
    return batch?.offsetAt(batch.indexSince(time));
  }

  /** The topics with records in (after, to] that `filters` match, each once, in order of appearance. Hot. */
  matchedTopics(after: number, to: number, filters: FilterSet): readonly string[] {
    const start = this.#batchAt(after + 1);
    const single = this.#batches[start]?.topics.names;
    if (single?.length === 1 && this.#batches[start]!.last >= to) return filters.matches(single[0]!) ? single : [];
    const seen = new Set<string>();
    const matched: string[] = [];
    for (let b = start; b < this.#batches.length; b++) {
      const batch = this.#batches[b]!;
      if (batch.first > to) break;
      for (const topic of batch.topics.names) {
        if (seen.has(topic)) continue;
        seen.add(topic);
        if (filters.matches(topic)) matched.push(topic);
      }
    }
    return matched;
  }

  /**
   * Matching records in (after, to], stopping after about `maxBytes`; `after` must not lie below `base`. Returns the
   * offset up to which the log has been read: `to`, or that of the last record when the budget ended it. Hot.
   */
  read(after: number, to: number, filters: FilterSet, maxBytes: number, into: LogRecord[]): number {
    if (filters.exact !== null && filters.exact.size === 1) {
      for (const topic of filters.exact) return this.#readTopic(topic, after, to, maxBytes, into);
    }
    let bytes = 0;
    const memo = new Map<string, boolean>();
    for (let b = this.#batchAt(after + 1); b < this.#batches.length; b++) {
      const batch = this.#batches[b]!;
      if (batch.first > to) break;
      const matches = matching(batch.topics.names, filters, memo);
      if (matches === undefined) continue;
      const end = batch.last <= to ? batch.count : batch.indexAfter(to);
      for (let i = batch.first > after ? 0 : batch.indexAfter(after); i < end; i++) {
        if (!matches[batch.topics.of(i)]) continue;
        const record = batch.record(i);
        into.push(record);
        bytes += record.weight;
        if (bytes >= maxBytes) return record.offset;
      }
    }
    return to;
  }

  #readTopic(topic: string, after: number, to: number, maxBytes: number, into: LogRecord[]): number {
    const topics = this.#topics;
    const newest = topics.newest(topic);
    if (newest === -1) return to;
    let bytes = 0;
    for (let at = after; topics.batch(newest).last > at; ) {
      const entry = topics.firstAbove(newest, at);
      const batch = topics.batch(entry);
      if (batch.first > to) break;
      for (let i = indexAbove(batch, topics.recordOf(entry), after); i !== -1; i = batch.topics.after(i)) {
        if (batch.offsetAt(i) > to) return to;
        const record = batch.record(i);
        into.push(record);
        bytes += record.weight;
        if (bytes >= maxBytes) return record.offset;
      }
      at = batch.last;
    }
    return to;
  }

  /** Index of the first batch whose last offset is ≥ `offset`. */
  #batchAt(offset: number): number {
    const newest = this.#batches[this.#batches.length - 1];
    // readers are nearly always at the newest batch
    if (newest !== undefined && newest.first <= offset && newest.last >= offset) return this.#batches.length - 1;
    let low = this.#first;
    let high = this.#batches.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.#batches[mid]!.last < offset) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  #evict(): void {
    const batch = this.#batches[this.#first]!;
    this.#batches[this.#first] = undefined as never;
    this.#first++;
    this.bytes -= batch.weight;
    this.base = batch.last;
    batch.release();
    this.#topics.drop(this.#firstSerial + this.#first - 1);
    if (this.#first > 1024 && this.#first * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.#first);
      this.#firstSerial += this.#first;
      this.#first = 0;
    }
  }
}

/** Index of a topic's first record above `offset`, or −1; `first` is that of its first in the batch. */
function indexAbove(batch: RecordBatch, first: number, offset: number): number {
  if (batch.topics.names.length === 1) {
    const index = batch.indexAfter(offset);
    return index < batch.count ? index : -1;
  }
  let index = first;
  while (index !== -1 && batch.offsetAt(index) <= offset) index = batch.topics.after(index);
  return index;
}

/** Undefined when nothing is left. */
function withoutTopic(batch: RecordBatch, topic: string, upTo: number): RecordBatch | undefined {
  const number = batch.topics.names.indexOf(topic);
  const picked: number[] = [];
  for (let i = 0; i < batch.count; i++) if (batch.topics.of(i) !== number || batch.offsetAt(i) > upTo) picked.push(i);
  return picked.length === 0 ? undefined : new PickedBatch(batch, picked);
}

/** Which of the topics match; undefined when none does. */
function matching(
  topics: readonly string[],
  filters: FilterSet,
  memo: Map<string, boolean>,
): readonly boolean[] | undefined {
  let any = false;
  const matches: boolean[] = [];
  for (const topic of topics) {
    let matched = memo.get(topic);
    if (matched === undefined) {
      matched = filters.matches(topic);
      memo.set(topic, matched);
    }
    matches.push(matched);
    any ||= matched;
  }
  return any ? matches : undefined;
}

/** `Log.recordsAt` as far as they are in memory. */
export function recordsHeld(hot: HotTail, offsets: Float64Array, maxBytes: number): LogRecord[] {
  const records: LogRecord[] = [];
  let bytes = 0;
  for (const offset of offsets) {
    const record = hot.at(offset);
    if (record === undefined) {
      if (records.length > 0) break;
      continue;
    }
    records.push(record);
    bytes += record.weight;
    if (bytes >= maxBytes) break;
  }
  return records;
}
