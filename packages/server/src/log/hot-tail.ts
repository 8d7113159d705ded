import type { FilterSet } from '@tailrace/protocol';
import type { LogRecord } from './record.ts';

/**
 * The newest committed records in memory, in front of every engine. Everything newer than `base` is here, so a reader
 * whose cursor is at or above `base` never waits.
 *
 *      base                                          head
 *       │  ┌───────┬──────────────┬───┬─────────────┐ │
 *       ▼  │batch  │ batch        │   │ batch       │ ▼      batches as they were committed, each with its
 *  ────────┴───────┴──────────────┴───┴─────────────┘        distinct topics; `byTopic` leads to the records of one
 */
export class HotTail {
  readonly maxBytes: number;
  /** Offset (exclusive) above which every record is held. */
  base: number;
  /** Weight of the records held. */
  bytes = 0;
  #batches: HotBatch[] = [];
  // batches before #first are dropped; compacted when half the array is dead, so that eviction stays O(1)
  #first = 0;
  readonly #byTopic = new Map<string, TopicTail>();

  constructor(maxBytes: number, base: number) {
    this.maxBytes = maxBytes;
    this.base = base;
  }

  /** Takes a committed batch; evicts the oldest batches beyond the budget. Hot. */
  push(records: readonly LogRecord[]): void {
    if (records.length === 0) return;
    const topics: string[] = [];
    let bytes = 0;
    for (const record of records) {
      bytes += record.weight;
      let tail = this.#byTopic.get(record.topic);
      if (tail === undefined) {
        tail = new TopicTail();
        this.#byTopic.set(record.topic, tail);
      }
      if (tail.newest < records[0]!.offset) topics.push(record.topic);
      tail.push(record);
    }
    this.#batches.push(new HotBatch(records, topics, bytes));
    this.bytes += bytes;
    // the newest batch always stays: what was just committed is about to be delivered
    while (this.bytes > this.maxBytes && this.#batches.length - this.#first > 1) this.#evict();
  }

  /** Forgets records with offset ≤ `offset`, batch by batch; for a log that trims what only memory holds. */
  trim(offset: number): void {
    while (this.#first < this.#batches.length && this.#batches[this.#first]!.last <= offset) this.#evict();
  }

  /** Topics with records in memory. */
  get topicCount(): number {
    return this.#byTopic.size;
  }

  get batchCount(): number {
    return this.#batches.length - this.#first;
  }

  /** Newest record of a topic held here. */
  newestOf(topic: string): LogRecord | undefined {
    return this.#byTopic.get(topic)?.last();
  }

  /** Offsets of the newest `count` records of a topic with offset ≤ `to`, ascending, as far as they are held. */
  newest(topic: string, count: number, to: number): number[] {
    const tail = this.#byTopic.get(topic);
    if (tail === undefined) return [];
    const end = tail.indexAfter(to);
    const offsets: number[] = [];
    for (let i = Math.max(tail.indexAfter(this.base), end - count); i < end; i++) offsets.push(tail.records[i]!.offset);
    return offsets;
  }

  /** The record at `offset`, when it is held. */
  at(offset: number): LogRecord | undefined {
    const records = this.#batches[this.#batchAt(offset)]?.records;
    if (records === undefined) return undefined;
    let low = 0;
    let high = records.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (records[mid]!.offset < offset) low = mid + 1;
      else high = mid;
    }
    return records[low]?.offset === offset ? records[low] : undefined;
  }

  topics(): IterableIterator<string> {
    return this.#byTopic.keys();
  }

  /** Time of the newest record at or below `offset`, or undefined when that lies below `base`. */
  timeAt(offset: number): number | undefined {
    const at = this.#batchAt(offset);
    for (let b = Math.min(at, this.#batches.length - 1); b >= this.#first; b--) {
      const { records } = this.#batches[b]!;
      for (let i = records.length - 1; i >= 0; i--) if (records[i]!.offset <= offset) return records[i]!.time;
    }
    return undefined;
  }

  /** The first record with time ≥ `time`, or undefined when none is held. */
  firstSince(time: number): LogRecord | undefined {
    let low = this.#first;
    let high = this.#batches.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      const { records } = this.#batches[mid]!;
      if (records[records.length - 1]!.time < time) low = mid + 1;
      else high = mid;
    }
    return this.#batches[low]?.records.find(record => record.time >= time);
  }

  /** The topics with records in (after, to] that `filters` match, each once, in order of appearance. Hot. */
  matchedTopics(after: number, to: number, filters: FilterSet): readonly string[] {
    const start = this.#batchAt(after + 1);
    const single = this.#batches[start];
    if (single !== undefined && single.last >= to && single.topics.length === 1)
      return filters.matches(single.topics[0]!) ? single.topics : [];
    const seen = new Set<string>();
    const matched: string[] = [];
    for (let b = start; b < this.#batches.length; b++) {
      const batch = this.#batches[b]!;
      if (batch.first > to) break;
      for (const topic of batch.topics) {
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
      if (!matchesAny(batch.topics, filters, memo)) continue;
      for (const record of batch.records) {
        if (record.offset <= after) continue;
        if (record.offset > to) return to;
        if (!memo.get(record.topic)) continue;
        into.push(record);
        bytes += record.weight;
        if (bytes >= maxBytes) return record.offset;
      }
    }
    return to;
  }

  #readTopic(topic: string, after: number, to: number, maxBytes: number, into: LogRecord[]): number {
    const tail = this.#byTopic.get(topic);
    if (tail === undefined) return to;
    let bytes = 0;
    for (let i = tail.indexAfter(after); i < tail.records.length; i++) {
      const record = tail.records[i]!;
      if (record.offset > to) return to;
      into.push(record);
      bytes += record.weight;
      if (bytes >= maxBytes) return record.offset;
    }
    return to;
  }

  /** Index of the first batch whose last offset is ≥ `offset`. */
  #batchAt(offset: number): number {
    let low = this.#first;
    let high = this.#batches.length;
    // readers are nearly always at the newest batch
    if (high > low && this.#batches[high - 1]!.first <= offset && this.#batches[high - 1]!.last >= offset)
      return high - 1;
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
    this.bytes -= batch.bytes;
    this.base = batch.last;
    for (const topic of batch.topics) {
      const tail = this.#byTopic.get(topic)!;
      if (tail.dropThrough(batch.last)) this.#byTopic.delete(topic);
    }
    if (this.#first > 1024 && this.#first * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.#first);
      this.#first = 0;
    }
  }
}

class HotBatch {
  readonly records: readonly LogRecord[];
  /** Distinct, in order of appearance. */
  readonly topics: readonly string[];
  readonly bytes: number;
  readonly first: number;
  readonly last: number;

  constructor(records: readonly LogRecord[], topics: readonly string[], bytes: number) {
    this.records = records;
    this.topics = topics;
    this.bytes = bytes;
    this.first = records[0]!.offset;
    this.last = records[records.length - 1]!.offset;
  }
}

/** The held records of one topic, oldest first. */
class TopicTail {
  records: LogRecord[] = [];
  #dropped = 0;

  get newest(): number {
    return this.last()?.offset ?? 0;
  }

  last(): LogRecord | undefined {
    return this.records[this.records.length - 1];
  }

  push(record: LogRecord): void {
    this.records.push(record);
  }

  indexAfter(offset: number): number {
    let low = this.#dropped;
    let high = this.records.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.records[mid]!.offset <= offset) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Drops records up to `offset`; true when none is left. */
  dropThrough(offset: number): boolean {
    const start = this.indexAfter(offset);
    for (let i = this.#dropped; i < start; i++) this.records[i] = undefined as never;
    this.#dropped = start;
    if (start === this.records.length) return true;
    if (start > 256 && start * 2 > this.records.length) {
      this.records = this.records.slice(start);
      this.#dropped = 0;
    }
    return false;
  }
}

function matchesAny(topics: readonly string[], filters: FilterSet, memo: Map<string, boolean>): boolean {
  let any = false;
  for (const topic of topics) {
    let matched = memo.get(topic);
    if (matched === undefined) {
      matched = filters.matches(topic);
      memo.set(topic, matched);
    }
    any ||= matched;
  }
  return any;
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
