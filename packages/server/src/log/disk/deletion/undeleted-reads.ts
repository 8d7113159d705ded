import type { FilterSet } from '@tailrace/protocol';
import { type Deletion, type Deletions, deletedAfter } from '../../deletions.ts';
import { type Dropped, laterDropped, type Position, type Slice, type TopicInfo } from '../../log.ts';
import type { LogRecord } from '../../record.ts';
import type { LogReads } from '../read/log-reads.ts';

type ByTopic = ReadonlyMap<string, Deletion>;

/** The reads of a log without what is deleted while files still hold it. What a read heeds is known when it begins. */
export class UndeletedReads {
  readonly #reads: LogReads;
  readonly #deletions: Deletions;

  constructor(reads: LogReads, deletions: Deletions) {
    this.#reads = reads;
    this.#deletions = deletions;
  }

  async read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const { byTopic } = this.#deletions;
    let slice = await this.#reads.read(after, to, filters, maxBytes);
    if (byTopic.size === 0) return slice;
    const began = slice.after;
    let { dropped } = slice;
    let records = without(byTopic, slice.records);
    // all that was found is deleted: there may be more behind it
    while (records.length === 0 && slice.records.length > 0 && slice.next < to) {
      const next = await this.#reads.read(slice.next, to, filters, maxBytes);
      if (next.after > slice.next) break;
      slice = next;
      dropped = laterDropped(dropped, slice.dropped);
      records = without(byTopic, slice.records);
    }
    const deleted = deletedAfter(byTopic, began, filters);
    return { ...slice, after: began, records, dropped: laterDropped(dropped, deleted) };
  }

  droppedAfter(after: number, filters: FilterSet, to: number): Dropped | Promise<Dropped> {
    const deleted = this.#deletions.droppedAfter(after, filters);
    const dropped = this.#reads.droppedAfter(after, filters, to);
    if (dropped instanceof Promise) return dropped.then(found => laterDropped(found, deleted));
    return laterDropped(dropped, deleted);
  }

  async newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    if (this.#deletions.byTopic.size === 0) return this.#reads.newest(filters, count, to);
    const all: number[] = [];
    for (const offsets of (await this.newestByTopic(filters, count, to)).values()) all.push(...offsets);
    return Float64Array.from(all).sort();
  }

  async newestByTopic(filters: FilterSet, count: number, to: number): Promise<ReadonlyMap<string, readonly number[]>> {
    const { byTopic } = this.#deletions;
    const found = await this.#reads.newestByTopic(filters, count, to);
    if (byTopic.size === 0) return found;
    const left = new Map(found);
    for (const { topic, upTo } of byTopic.values()) {
      const offsets = left.get(topic)?.filter(offset => offset > upTo);
      if (offsets === undefined || offsets.length === 0) left.delete(topic);
      else left.set(topic, offsets);
    }
    return left;
  }

  /** The records at `offsets`: what is deleted is gone, like what retention removed. */
  async recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    const { byTopic } = this.#deletions;
    for (let asked = offsets; ; ) {
      const records = await this.#reads.recordsAt(asked, maxBytes);
      if (byTopic.size === 0 || records.length === 0) return records;
      const first = records.findIndex(record => !isDeleted(byTopic, record));
      if (first >= 0) {
        const end = records.findIndex((record, i) => i > first && isDeleted(byTopic, record));
        return records.slice(first, end === -1 ? records.length : end);
      }
      const last = records[records.length - 1]!.offset;
      const next = asked.findIndex(offset => offset > last);
      if (next === -1) return [];
      asked = asked.subarray(next);
    }
  }

  positionAt(time: number): Promise<Position> {
    return this.#reads.positionAt(time);
  }

  positionOf(offset: number): Promise<Position> {
    return this.#reads.positionOf(offset);
  }

  async topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    const { byTopic } = this.#deletions;
    const found: TopicInfo[] = [];
    for (let from = after; ; ) {
      const page = await this.#reads.topics(prefix, from, limit - found.length);
      for (const info of page) if (!(info.lastOffset <= (byTopic.get(info.topic)?.upTo ?? 0))) found.push(info);
      if (page.length === 0 || byTopic.size === 0 || found.length >= limit) return found;
      from = page[page.length - 1]!.topic;
    }
  }
}

function isDeleted(byTopic: ByTopic, { topic, offset }: LogRecord): boolean {
  return offset <= (byTopic.get(topic)?.upTo ?? 0);
}

function without(byTopic: ByTopic, records: readonly LogRecord[]): readonly LogRecord[] {
  return records.some(record => isDeleted(byTopic, record))
    ? records.filter(record => !isDeleted(byTopic, record))
    : records;
}
