import type { FilterSet } from '@tailrace/protocol';
import type { Slice } from '../../log.ts';
import type { LogRecord } from '../../record.ts';
import { sparseBytes } from '../index/segment-index.ts';
import { LogDamaged } from '../segment/damage.ts';
import { FrameReader } from '../segment/frame-reader.ts';
import { decodeRecord, recordLength, recordOffset, recordTime } from '../segment/record-codec.ts';
import type { Segment } from '../segment/segment.ts';
import type { SegmentList } from '../segment/segment-list.ts';
import { Gate } from './gate.ts';
import { SegmentSlices } from './segment-slices.ts';

/** Log reads that may be at the disk at once: more of them would stand before commits in libuv's queue. */
const readsInFlight = 2;

/** Bytes read at once for records that lie apart: about what lies between two entries of the sparse index. */
const scatteredBytes = 2 * sparseBytes;

/** A slice as the files have it: what has been dropped from it is known to their marks. */
export type Stretch = Omit<Slice, 'dropped'>;

/** Reads what the hot tail no longer holds. */
export class Reader {
  readonly gate: Gate = new Gate(readsInFlight);
  readonly #segments: SegmentList;
  readonly #slices = new SegmentSlices(this.gate);

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
        cursor = await this.#slices.read(segment, cursor, end, filters, budget, records);
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
        if (held) frames.walk(visit);
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
        frames.walk(at => {
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
      frames.walk(at => {
        if (recordTime(frames.buffer, at) < time) return true;
        found = recordOffset(frames.buffer, at, segment.firstOffset);
        return false;
      });
      return found;
    }
    return undefined;
  }
}
