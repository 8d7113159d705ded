import type { FilterSet } from '@tailrace/protocol';
import { LogRecord } from '../../record.ts';
import { firstAtLeast, type PostingList, type TopicSet } from '../index/segment-index.ts';
import { ChunkMemory } from '../segment/chunk-memory.ts';
import { LogDamaged } from '../segment/damage.ts';
import { chunkBytes, FrameReader, readRecordsAt } from '../segment/frame-reader.ts';
import { decodeRecord, recordOffset, recordTopicNumber } from '../segment/record-codec.ts';
import type { Segment } from '../segment/segment.ts';
import type { Gate } from './gate.ts';

/** Exact filters up to this many are read by posting lists; with more a scan is cheaper. */
const exactTopics = 64;

/** Most records read by posting lists before one looks at the budget again. */
const positionsAtOnce = 64;

/** Ends of slices whose position is remembered: who reads on begins exactly there. */
const keptBookmarks = 1024;

/** Reads what matches in one segment: by posting lists, or by a scan. */
export class SegmentSlices {
  readonly #gate: Gate;
  readonly #memory = new ChunkMemory();
  readonly #bookmarks = new Map<string, number>();

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  /** Adds the records in (after, to] that match to `into`, within the budget; returns the offset up to which. */
  async read(
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
      const damage = await readRecordsAt(segment, this.#gate, positions, found).then(nothing, whatWasDamaged);
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
    const frames = new FrameReader(segment, this.#gate, from, chunkBytes, this.#memory);
    let bytes = 0;
    let last = 0;
    let chunk = frames.buffer;
    let chunkStart = into.length;
    while (await frames.next(after + 1)) {
      const { header, buffer } = frames;
      if (buffer !== chunk) {
        if (letGo(chunk, into, chunkStart)) this.#memory.give(chunk);
        chunk = buffer;
        chunkStart = into.length;
      }
      if (header.last <= after) continue;
      if (header.first > to) break;
      frames.walk(at => {
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
        if (letGo(chunk, into, chunkStart)) this.#memory.give(chunk);
        return last;
      }
    }
    if (letGo(chunk, into, chunkStart)) this.#memory.give(chunk);
    return to;
  }

  /** Position of a frame at or before the first record with an offset above `after`, close to it. */
  async #placeBehind(segment: Segment, after: number): Promise<number> {
    // who comes from the segment before needs no index: those of a deep log do not all stay in memory
    if (after < segment.firstOffset) return segment.header.framesAt;
    return this.#bookmarks.get(bookmark(segment, after)) ?? (await segment.index.frameAt(after + 1));
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
