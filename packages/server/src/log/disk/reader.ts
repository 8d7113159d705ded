import type { FilterSet } from '@tailrace/protocol';
import type { Slice } from '../log.ts';
import { LogRecord } from '../record.ts';
import { LogDamaged } from './damage.ts';
import { frameHeaderBytes } from './frame.ts';
import { FrameReader, readRecordsAt } from './frame-reader.ts';
import { Gate } from './gate.ts';
import {
  decodeRecord,
  recordHeaderBytes,
  recordLength,
  recordOffset,
  recordTime,
  recordTopicNumber,
} from './record-codec.ts';
import type { Segment } from './segment.ts';
import { type PostingList, sparseBytes, type TopicSet } from './segment-index.ts';
import type { SegmentList } from './segment-list.ts';

/** Log reads that may be at the disk at once: more of them would stand before commits in libuv's queue. */
const readsInFlight = 2;

/** Bytes read at once for records that lie apart: about what lies between two entries of the sparse index. */
const scatteredBytes = 2 * sparseBytes;

/** Exact filters up to this many are read by posting lists; with more a scan is cheaper. */
const exactTopics = 64;

/** Most records read by posting lists before one looks at the budget again. */
const positionsAtOnce = 64;

/** Ends of slices whose position is remembered: who reads on begins exactly there. */
const keptBookmarks = 1024;

/** A slice as the files have it: what has been dropped from it is known to their marks. */
export type Stretch = Omit<Slice, 'dropped'>;

/** Reads what the hot tail no longer holds. */
export class Reader {
  readonly gate: Gate = new Gate(readsInFlight);
  readonly #segments: SegmentList;
  readonly #bookmarks = new Map<string, number>();

  constructor(segments: SegmentList) {
    this.#segments = segments;
  }

  /**
   * The slice from `after` to at most `to`, not across a stretch that is missing. Empty only when nothing in (after, to]
   * matches, or when what comes next begins later: then `after` says where. It ends before damage; one that would begin
   * there rejects.
   */
  async read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Stretch> {
    let cursor = after;
    // a stretch without a match must not look like one that used its budget up
    let budget = Math.max(1, maxBytes);
    const records: LogRecord[] = [];
    while (cursor < to && (budget > 0 || records.length === 0)) {
      const segment = this.#segments.holding(cursor + 1);
      if (segment === undefined || segment.firstOffset - 1 > cursor) {
        // a hole: told as the beginning of a slice, never in the middle of one
        if (cursor > after) break;
        cursor = segment === undefined ? to : Math.min(segment.firstOffset - 1, to);
        return { after: cursor, records, next: cursor, time: await this.timeOf(cursor) };
      }
      const end = Math.min(to, segment.lastOffset);
      const had = records.length;
      try {
        cursor = await this.#readSegment(segment, cursor, end, filters, budget, records);
      } catch (error) {
        if (!(error instanceof LogDamaged) || records.length === 0) throw error;
        cursor = records[records.length - 1]!.offset;
        break;
      }
      for (let i = had; i < records.length; i++) budget -= records[i]!.weight;
    }
    const newest = records[records.length - 1];
    return { after, records, next: cursor, time: newest?.offset === cursor ? newest.time : await this.timeOf(cursor) };
  }

  /** The records at these offsets, which ascend: see `Log.recordsAt`. */
  async recordsAt(offsets: Float64Array, maxBytes: number): Promise<LogRecord[]> {
    const records: LogRecord[] = [];
    try {
      await this.#collect(offsets, maxBytes, records);
    } catch (error) {
      if (!(error instanceof LogDamaged) || records.length === 0) throw error;
    }
    return records;
  }

  async #collect(offsets: Float64Array, maxBytes: number, records: LogRecord[]): Promise<void> {
    let bytes = 0;
    let frames: FrameReader | undefined;
    let segment: Segment | undefined;
    for (let i = 0; i < offsets.length && (bytes < maxBytes || records.length === 0); ) {
      const before = i;
      const holding = this.#segments.holding(offsets[i]!);
      if (holding !== undefined && holding.firstOffset <= offsets[i]!) {
        const from = await holding.index.frameAt(offsets[i]!);
        if (frames === undefined || holding !== segment || from > frames.position) {
          segment = holding;
          frames = new FrameReader(holding, this.gate, from, scatteredBytes);
          await frames.next(offsets[i]);
        }
        while (frames.header.count === 0 || frames.header.last < offsets[i]!)
          if (!(await frames.next(offsets[i]))) break;
        const { buffer } = frames;
        // of a frame that ends before it only the header was looked at
        const held = frames.header.last >= offsets[i]!;
        const visit = (at: number): boolean => {
          const offset = recordOffset(buffer, at, holding.firstOffset);
          if (offset !== offsets[i]!) return offset < offsets[i]!;
          // a copy: few of a frame may be wanted, and they would keep all of it
          const copy = Buffer.from(buffer.subarray(at, at + recordLength(buffer, at)));
          const record = decodeRecord(copy, 0, holding.firstOffset);
          records.push(record);
          bytes += record.weight;
          return ++i < offsets.length && bytes < maxBytes;
        };
        if (held) this.#walk(frames, holding, visit);
      }
      if (i > before) continue;
      if (records.length > 0) break;
      i++;
    }
  }

  /** Time of the newest record at or below `offset`; 0 when there is none. */
  async timeOf(offset: number): Promise<number> {
    const segment = this.#segments.atOrBelow(offset);
    if (segment === undefined) return 0;
    if (offset >= segment.lastOffset) return segment.lastTime;
    const frames = new FrameReader(segment, this.gate, await segment.index.frameAt(offset));
    let time = 0;
    try {
      while (await frames.next(offset + 1)) {
        if (frames.header.first > offset) break;
        if (frames.header.last <= offset) {
          time = frames.header.time;
          continue;
        }
        this.#walk(frames, segment, at => {
          if (recordOffset(frames.buffer, at, segment.firstOffset) > offset) return false;
          time = recordTime(frames.buffer, at);
          return true;
        });
        break;
      }
    } catch (error) {
      // no record is given out here, and a cursor with an earlier time only repeats more, should its time ever be needed
      if (!(error instanceof LogDamaged)) throw error;
      time = Math.max(time, segment.firstTime);
    }
    // rules may have dropped all that the segment had up to there
    return time === 0 && segment.firstOffset > 1 ? this.timeOf(segment.firstOffset - 1) : time;
  }

  /** Offset of the first record with time ≥ `time`; undefined when none on disk is. */
  async firstSince(time: number): Promise<number | undefined> {
    for (const segment of this.#segments.since(time)) {
      const found = await this.#firstSinceIn(segment, time);
      if (found !== undefined) return found;
      // rules may have dropped what was new enough in it
      if (segment.header.rewritten === undefined) return undefined;
    }
    return undefined;
  }

  async #firstSinceIn(segment: Segment, time: number): Promise<number | undefined> {
    if (segment.records === 0) return undefined;
    const frames = new FrameReader(segment, this.gate, await segment.index.frameSince(time));
    while (await frames.next()) {
      if (frames.header.count === 0 || frames.header.time < time) continue;
      let found: number | undefined;
      this.#walk(frames, segment, at => {
        if (recordTime(frames.buffer, at) < time) return true;
        found = recordOffset(frames.buffer, at, segment.firstOffset);
        return false;
      });
      return found;
    }
    return undefined;
  }

  async #readSegment(
    segment: Segment,
    after: number,
    to: number,
    filters: FilterSet,
    maxBytes: number,
    into: LogRecord[],
  ): Promise<number> {
    if (filters.exact !== null && filters.exact.size <= exactTopics) {
      const lists: PostingList[] = [];
      for (const topic of filters.exact) {
        if (!segment.index.mayHold(topic)) continue;
        const list = await segment.index.postings(topic);
        if (list !== undefined) lists.push(list);
      }
      return lists.length === 0 ? to : this.#readPostings(segment, lists, after, to, maxBytes, into);
    }
    const topics = await segment.index.matching(filters);
    return topics.size === 0 ? to : this.#scan(segment, topics, after, to, maxBytes, into);
  }

  /** Reads by posting lists: only what matches, wherever it lies. */
  async #readPostings(
    segment: Segment,
    lists: readonly PostingList[],
    after: number,
    to: number,
    maxBytes: number,
    into: LogRecord[],
  ): Promise<number> {
    const from = await this.#placeBehind(segment, after);
    const starts = lists.map(list => firstAtLeast(list, from));
    let bytes = 0;
    for (;;) {
      // about as many positions as the budget asks for, merged from all lists
      const count = Math.ceil((maxBytes - bytes) / segment.recordBytes);
      const positions = mergeNext(lists, starts, Math.min(Math.max(count, 1), positionsAtOnce));
      if (positions.length === 0) return to;
      const found: LogRecord[] = [];
      const damage = await readRecordsAt(segment, this.gate, positions, found).then(nothing, whatWasDamaged);
      for (const record of found) {
        if (record.offset <= after) continue;
        if (record.offset > to) return to;
        into.push(record);
        bytes += record.weight;
        if (bytes >= maxBytes) return record.offset;
      }
      if (damage !== undefined) throw damage;
    }
  }

  /** Reads frame after frame and picks the records whose topic is in the set. */
  async #scan(
    segment: Segment,
    topics: TopicSet,
    after: number,
    to: number,
    maxBytes: number,
    into: LogRecord[],
  ): Promise<number> {
    const from = await this.#placeBehind(segment, after);
    const frames = new FrameReader(segment, this.gate, from);
    let bytes = 0;
    let last = 0;
    let chunk = frames.buffer;
    let chunkStart = into.length;
    while (await frames.next(after + 1)) {
      const { header, buffer } = frames;
      if (buffer !== chunk) {
        if (letGo(chunk, into, chunkStart)) frames.reuse(chunk);
        chunk = buffer;
        chunkStart = into.length;
      }
      if (header.last <= after) continue;
      if (header.first > to) break;
      this.#walk(frames, segment, at => {
        const offset = recordOffset(buffer, at, segment.firstOffset);
        if (offset > to) return false;
        if (offset <= after || !topics.has(recordTopicNumber(buffer, at))) return true;
        const record = decodeRecord(buffer, at, segment.firstOffset);
        into.push(record);
        bytes += record.weight;
        last = record.offset;
        return bytes < maxBytes;
      });
      if (bytes >= maxBytes) {
        this.#keepBookmark(segment, last, last === header.last ? frames.position + header.length : frames.position);
        letGo(chunk, into, chunkStart);
        return last;
      }
    }
    letGo(chunk, into, chunkStart);
    return to;
  }

  /** Position of a frame at or before the first record with an offset above `after`, close to it. */
  async #placeBehind(segment: Segment, after: number): Promise<number> {
    // who comes from the segment before needs no index: those of a deep log do not all stay in memory
    if (after < segment.firstOffset) return segment.header.framesAt;
    return this.#bookmarks.get(bookmark(segment, after)) ?? (await segment.index.frameAt(after + 1));
  }

  /** Calls `visit` with the place of each record of the frame until it returns false. The frame has been checked. */
  #walk(frames: FrameReader, segment: Segment, visit: (at: number) => boolean): void {
    const { buffer, header } = frames;
    let at = frames.at + frameHeaderBytes;
    for (let i = 0; i < header.count; i++) {
      const length = recordLength(buffer, at);
      if (length < recordHeaderBytes)
        throw new Error(`segment ${segment.name} was written wrongly: a record of ${length} bytes`);
      if (!visit(at)) return;
      at += length;
    }
  }

  #keepBookmark(segment: Segment, offset: number, position: number): void {
    this.#bookmarks.set(bookmark(segment, offset), position);
    if (this.#bookmarks.size <= keptBookmarks) return;
    for (const oldest of this.#bookmarks.keys()) {
      this.#bookmarks.delete(oldest);
      return;
    }
  }
}

function nothing(): undefined {}

function whatWasDamaged(error: unknown): LogDamaged {
  if (error instanceof LogDamaged) return error;
  throw error;
}

function bookmark(segment: Segment, offset: number): string {
  // two segments meet at one offset, at different positions
  return `${segment.name} ${offset}`;
}

/**
 * Where few records of a chunk are wanted, from `start` on, they are copied: as views they would keep all of it. True when
 * nothing keeps it.
 */
function letGo(chunk: Buffer, records: LogRecord[], start: number): boolean {
  let wanted = 0;
  for (let i = start; i < records.length; i++) wanted += records[i]!.weight;
  if (wanted * 4 >= chunk.length) return false;
  for (let i = start; i < records.length; i++) {
    const record = records[i]!;
    records[i] = new LogRecord(record.offset, record.time, { ...record, data: Buffer.from(record.data) });
  }
  return true;
}

export function firstAtLeast(ascending: PostingList, value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (ascending[mid]! < value) low = mid + 1;
    else high = mid;
  }
  return low;
}

/** The next `count` positions of several ascending lists, in order; moves `starts` on. */
function mergeNext(lists: readonly PostingList[], starts: number[], count: number): number[] {
  const positions: number[] = [];
  while (positions.length < count) {
    let best = -1;
    for (let l = 0; l < lists.length; l++) {
      const position = lists[l]![starts[l]!];
      if (position !== undefined && (best === -1 || position < lists[best]![starts[best]!]!)) best = l;
    }
    if (best === -1) break;
    positions.push(lists[best]![starts[best]!]!);
    starts[best]!++;
  }
  return positions;
}
