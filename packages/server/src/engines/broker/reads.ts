import type { FilterSet } from '@tailrace/protocol';
import { type HotTail, recordsHeld } from '../../log/hot-tail.ts';
import type { TopicInfo } from '../../log/log.ts';
import type { LogRecord } from '../../log/record.ts';
import type { BrokerPartition } from '../broker-partition.ts';
import type { FollowedSlice } from '../followed-log.ts';
import { type PackedRecord, packedTopic, unpackRecord } from '../packed-record.ts';
import type { Directory } from './directory.ts';
import type { Known } from './known.ts';
import { DamagedEntry, type Page, type PageSource } from './pages.ts';

export interface ReadsParts {
  readonly partition: Pick<BrokerPartition, 'firstSince'>;
  readonly pages: PageSource;
  readonly known: Known;
  readonly hot: HotTail;
  readonly directory: Directory;
}

/** Bytes of one page: few for who wants few, more with each page that follows. */
const pageFirst = 64 * 1024;
const pageMost = 1024 * 1024;
/** Offsets of a stretch that is read from its end. */
const stretchFirst = 256;
const stretchMost = 16_384;

/** Reads what is not in this node's memory: by range, filtered here. */
export class Reads {
  readonly #parts: ReadsParts;

  constructor(parts: ReadsParts) {
    this.#parts = parts;
  }

  /** See `Log.read`, for (`after`, `to`] within floor and head. */
  async read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<FollowedSlice> {
    const { known, hot, pages } = this.#parts;
    let from = after;
    const records: LogRecord[] = [];
    let bytes = 0;
    let next = after;
    let time: number | undefined;
    let isMissing = false;
    for (let size = pageFirst; next < to; size = Math.min(pageMost, size * 2)) {
      // what memory holds of the rest is the same
      if (next >= hot.base && records.length === 0) {
        next = hot.read(next, to, filters, maxBytes, records);
        return { after: from, records, next, time: hot.timeAt(next) ?? known.time, isMissing };
      }
      const page = await pages.read(next, to, size);
      if (page.after > next) {
        // what was removed meanwhile is told, unless something stands before it
        if (records.length > 0) break;
        from = Math.min(page.after, to);
      }
      isMissing ||= page.missing !== undefined;
      for (const record of page.records) {
        time = record.time;
        if (!filters.matches(packedTopic(record))) continue;
        const unpacked = unpackRecord(record);
        records.push(unpacked);
        bytes += unpacked.weight;
        if (bytes >= maxBytes) return { after: from, records, next: record.offset, time, isMissing };
      }
      next = Math.min(Math.max(page.next, from), to);
      if (records.length > 0 && bytes * 2 >= maxBytes) break;
    }
    return { after: from, records, next, time: await this.timeAt(next, time), isMissing };
  }

  /** Time of the newest record at or below `offset`; `read`: that of the newest that was just read. */
  async timeAt(offset: number, read?: number): Promise<number> {
    const { known, hot } = this.#parts;
    const { head } = known;
    if (offset >= head.offset) return head.time;
    const held = hot.timeAt(offset) ?? read;
    if (held !== undefined) return held;
    for await (const { records } of this.backwards(offset)) {
      const newest = records[records.length - 1];
      if (newest !== undefined) return newest.time;
    }
    return 0;
  }

  /** Offsets of the newest `count` records of each matching topic with offset ≤ `to`, by topic, ascending. */
  async newest(filters: FilterSet, count: number, to: number): Promise<Map<string, number[]>> {
    const { hot, known, directory } = this.#parts;
    const found = new Map<string, number[]>();
    const open = new Set<string>();
    const { floor } = known;
    // topics that are not in the directory are looked for too
    const isOpen = directory.since > floor && filters.exact === null;
    const look = (topic: string): void => {
      const held = hot.newest(topic, count, to).filter(offset => offset > floor);
      const newest = directory.newest(topic);
      if (held.length < count && count === 1 && newest !== undefined && newest.offset <= to && newest.offset > floor)
        held.push(newest.offset);
      found.set(topic, held);
      if (held.length < count && (newest !== undefined || directory.since > floor)) open.add(topic);
    };
    if (filters.exact !== null) for (const topic of filters.exact) look(topic);
    else for (const [topic] of directory.entries()) if (filters.matches(topic)) look(topic);
    // of what memory holds nothing more is to be found
    for await (const { records } of this.backwards(Math.min(to, hot.base))) {
      if (open.size === 0 && !isOpen) break;
      for (let i = records.length - 1; i >= 0; i--) {
        const record = records[i]!;
        const topic = packedTopic(record);
        if (isOpen && !found.has(topic) && filters.matches(topic)) {
          found.set(topic, []);
          open.add(topic);
        }
        if (!open.has(topic)) continue;
        const offsets = found.get(topic)!;
        offsets.unshift(record.offset);
        if (offsets.length === count) open.delete(topic);
      }
    }
    for (const [topic, offsets] of found) if (offsets.length === 0) found.delete(topic);
    return found;
  }

  async recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    const { hot, known, pages } = this.#parts;
    const { floor } = known;
    const there = offsets.findIndex(offset => offset > floor);
    if (there === -1) return [];
    const left = offsets.subarray(there);
    if (left[0]! > hot.base) return recordsHeld(hot, left, maxBytes);
    const records: LogRecord[] = [];
    let bytes = 0;
    let page: Page = { after: 0, records: [], next: 0 };
    for (const offset of left) {
      if (offset > known.head.offset) break;
      if (offset > page.next) page = await pages.read(offset - 1, known.offset, pageFirst);
      const record = page.records.find(one => one.offset === offset);
      if (record === undefined) {
        if (records.length > 0) return records;
        continue;
      }
      const unpacked = unpackRecord(record);
      records.push(unpacked);
      bytes += unpacked.weight;
      if (bytes >= maxBytes) return records;
    }
    return records;
  }

  /** Offset of the first record with time ≥ `time`, undefined when there is none. */
  async firstSince(time: number): Promise<number | undefined> {
    const { known, hot, partition } = this.#parts;
    if (known.head.time < time) return undefined;
    const before = hot.timeAt(hot.base);
    if (before !== undefined && before < time) return hot.firstSince(time);
    return partition.firstSince(time);
  }

  /** Topics that hold records, in order, beginning after `after`, at most `limit`. */
  async topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    const { directory, known } = this.#parts;
    const { floor } = known;
    const all: TopicInfo[] = [];
    const wanted = (topic: string): boolean => topic > after && topic.startsWith(prefix);
    for (const [topic, { offset, time }] of directory.entries())
      if (offset > floor && wanted(topic)) all.push({ topic, lastOffset: offset, lastTime: time });
    if (directory.since > floor) {
      const seen = new Set(all.map(({ topic }) => topic));
      for await (const { records } of this.backwards(directory.since))
        for (const record of records.toReversed()) {
          const topic = packedTopic(record);
          if (seen.has(topic) || !wanted(topic)) continue;
          seen.add(topic);
          all.push({ topic, lastOffset: record.offset, lastTime: record.time });
        }
    }
    all.sort((a, b) => (a.topic < b.topic ? -1 : 1));
    return all.slice(0, limit);
  }

  /**
   * The records up to `to`, stretch by stretch, the newest stretch first; those of a stretch, above `from`, ascend.
   * `passDamage`: goes on behind entries that are damaged, and does not reject.
   */
  async *backwards(
    to: number,
    { passDamage = false }: { readonly passDamage?: boolean } = {},
  ): AsyncGenerator<{ readonly from: number; readonly records: readonly PackedRecord[] }> {
    const { known, pages } = this.#parts;
    let upTo = to;
    for (let length = stretchFirst; upTo > known.floor; length = Math.min(stretchMost, length * 4)) {
      const from = Math.max(known.floor, upTo - length);
      const records: PackedRecord[] = [];
      for (let at = from; at < upTo; ) {
        const page = await pages.read(at, upTo, pageMost).catch(error => {
          if (passDamage && error instanceof DamagedEntry) return { after: at, records: [], next: error.offset };
          throw error;
        });
        records.push(...page.records);
        at = Math.max(page.next, at + 1);
      }
      upTo = from;
      yield { from, records };
    }
  }
}
