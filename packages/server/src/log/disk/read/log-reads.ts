import type { FilterSet } from '@tailrace/protocol';
import { recordsHeld } from '../../hot-tail.ts';
import {
  type Dropped,
  type Log,
  laterDropped,
  nothingDropped,
  type Position,
  type Slice,
  type TopicInfo,
} from '../../log.ts';
import type { LogRecord } from '../../record.ts';
import { droppedOf } from '../compaction/marks.ts';
import { IndexDamaged, type IndexReading } from '../index/sealed-index.ts';
import type { Sealer } from '../index/sealer.ts';
import { LogDamaged } from '../segment/damage.ts';
import type { SegmentList } from '../segment/segment-list.ts';
import type { Reader } from './reader.ts';
import type { ReadsInFlight } from './reads-in-flight.ts';
import { newestOfTopics, topicsOf } from './topic-reads.ts';

export interface LogReadsParts {
  readonly segments: SegmentList;
  readonly reader: Reader;
  readonly reading: IndexReading;
  readonly sealer: Sealer;
  readonly inFlight: ReadsInFlight;
}

/** The reads of a log on disk: from the files, then from the hot tail, whatever retention and sealing do meanwhile. */
export class LogReads {
  readonly #log: Pick<Log, 'hot' | 'head' | 'floor' | 'epochOf'>;
  readonly #parts: LogReadsParts;

  constructor(log: Pick<Log, 'hot' | 'head' | 'floor' | 'epochOf'>, parts: LogReadsParts) {
    this.#log = log;
    this.#parts = parts;
  }

  async read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const end = Math.min(to, this.#log.head.offset);
    const from = Math.max(after, this.#log.floor);
    if (from >= end)
      return { after: from, records: [], next: from, time: await this.#timeOf(from), dropped: nothingDropped };
    if (from >= this.#log.hot.base) return this.#readHot(from, from, end, filters, maxBytes);
    const slice = await this.#readDisk(from, Math.min(end, this.#log.hot.base), filters, maxBytes);
    let budget = maxBytes;
    for (const record of slice.records) budget -= record.weight;
    if (slice.after > from || slice.next >= end || (budget <= 0 && slice.records.length > 0)) return slice;
    // the hot tail goes on where the disk has been read up to
    const rest = await this.read(slice.next, to, filters, budget).catch(endBefore(slice.next > from));
    if (rest === undefined || rest.after > slice.next) return slice;
    const records = [...slice.records, ...rest.records];
    return {
      after: from,
      records,
      next: rest.next,
      time: rest.time,
      dropped: laterDropped(slice.dropped, rest.dropped),
    };
  }

  droppedAfter(after: number, filters: FilterSet, to: number): Dropped | Promise<Dropped> {
    if (after >= this.#parts.segments.newestDropped) return nothingDropped;
    return this.#steadily(() => this.#droppedBetween(after, to, filters));
  }

  async newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    const found = await this.newestByTopic(filters, count, to);
    let length = 0;
    for (const offsets of found.values()) length += offsets.length;
    const all = new Float64Array(length);
    let at = 0;
    for (const offsets of found.values()) for (const offset of offsets) all[at++] = offset;
    return all.sort();
  }

  newestByTopic(filters: FilterSet, count: number, to: number): Promise<ReadonlyMap<string, readonly number[]>> {
    const end = Math.min(to, this.#log.head.offset);
    return this.#steadily(() =>
      newestOfTopics(this.#parts.segments, this.#parts.reader.gate, this.#log.hot, filters, count, end),
    );
  }

  async recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    const { floor, hot } = this.#log;
    const { base } = hot;
    const first = offsets.findIndex(offset => offset > floor);
    if (first === -1) return [];
    if (offsets[first]! > base) return recordsHeld(hot, offsets.subarray(first), maxBytes);
    const end = offsets.findIndex(offset => offset > base);
    const onDisk = offsets.subarray(first, end === -1 ? offsets.length : end);
    const records = await this.#steadily(() => this.#parts.reader.recordsAt(onDisk, maxBytes));
    if (end === -1) return records;
    // the hot tail goes on where the disk has been read up to
    let budget = maxBytes;
    for (const { weight } of records) budget -= weight;
    const last = records[records.length - 1];
    if (last !== undefined && (budget <= 0 || last.offset !== offsets[end - 1])) return records;
    const rest = await this.recordsAt(offsets.subarray(end), budget);
    return last === undefined || rest[0]?.offset === offsets[end] ? [...records, ...rest] : records;
  }

  async positionAt(time: number): Promise<Position> {
    if (this.#log.head.time < time) return this.#log.head;
    const hot = this.#log.hot.firstSince(time);
    // when the very first record in memory is new enough, older ones on disk may be too
    if (hot !== undefined && (this.#log.hot.timeAt(hot - 1) ?? time) < time) return this.positionOf(hot - 1);
    const first = (await this.#steadily(() => this.#parts.reader.firstSince(time))) ?? hot ?? this.#log.head.offset + 1;
    return this.positionOf(Math.max(first - 1, this.#log.floor));
  }

  async positionOf(offset: number): Promise<Position> {
    return { epoch: this.#log.epochOf(offset), offset, time: await this.#timeOf(offset) };
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    return this.#steadily(() => topicsOf(this.#parts.segments, prefix, after, limit));
  }

  #readHot(after: number, from: number, to: number, filters: FilterSet, maxBytes: number): Slice | Promise<Slice> {
    const records: LogRecord[] = [];
    const next = this.#log.hot.read(from, to, filters, maxBytes, records);
    const time = next >= this.#log.head.offset ? this.#log.head.time : this.#log.hot.timeAt(next);
    if (time !== undefined) return { after, records, next, time, dropped: nothingDropped };
    return this.#timeOf(next).then(time => ({ after, records, next, time, dropped: nothingDropped }));
  }

  #readDisk(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const { segments, reader } = this.#parts;
    return this.#steadily(async () => {
      for (;;) {
        const { version } = segments;
        const from = Math.max(after, this.#log.floor);
        const stretch = await reader.read(from, Math.max(from, to), filters, maxBytes);
        const dropped = await this.#droppedBetween(stretch.after, stretch.next, filters);
        // records of one generation and marks of the next would tell of what was not missed
        if (segments.version === version) return { ...stretch, dropped };
      }
    });
  }

  async #droppedBetween(after: number, to: number, filters: FilterSet): Promise<Dropped> {
    let dropped = nothingDropped;
    for (const segment of this.#parts.segments.rewritten(after, to))
      dropped = laterDropped(dropped, await droppedOf(segment, this.#parts.reading, filters));
    return dropped;
  }

  async #timeOf(offset: number): Promise<number> {
    if (offset >= this.#log.head.offset) return this.#log.head.time;
    return this.#log.hot.timeAt(offset) ?? (await this.#steadily(() => this.#parts.reader.timeOf(offset)));
  }

  /** Runs a read; again when retention took a segment away before it was opened, or when an index had to be built anew. */
  #steadily<T>(read: () => Promise<T>): Promise<T> {
    const { segments, sealer, inFlight } = this.#parts;
    return inFlight.run(async () => {
      for (;;) {
        const { version } = segments;
        try {
          return await read();
        } catch (error) {
          if (segments.version !== version) continue;
          if (!(error instanceof IndexDamaged)) throw error;
          await sealer.rebuild(error.segment, error.message);
        }
      }
    });
  }
}

/** What has been read is given out; the damage behind it is met by the read that begins there. */
function endBefore(hasRead: boolean): (error: unknown) => undefined {
  return error => {
    if (!hasRead || !(error instanceof LogDamaged)) throw error;
  };
}
