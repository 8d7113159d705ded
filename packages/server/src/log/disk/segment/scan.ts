import { blockBytes } from '../files/aligned-memory.ts';
import { FrameHeader, findFrame, frameHeaderBytes } from './frame.ts';
import { recordHeaderBytes, recordIsWhole, recordLength, recordOffset } from './record-codec.ts';
import { type SegmentHeader, segmentSeed } from './segment-header.ts';
import { atOnce } from './slices.ts';

/** A frame that passed every check. */
export interface ScannedFrame {
  readonly position: number;
  readonly length: number;
  readonly count: number;
  readonly first: number;
  readonly last: number;
  readonly durable: number;
  readonly time: number;
  readonly crc: number;
}

/** The first place of a segment where no frame follows although something is there. */
export interface BadPlace {
  /** Number of the frame that should be there. */
  readonly frame: number;
  readonly position: number;
  readonly what: string;
}

export interface SegmentScan {
  /** Frames in order, up to the bad place if there is one. */
  readonly frames: readonly ScannedFrame[];
  /** Where the last of them ends. */
  readonly end: number;
  /** Offset of the last record of them. */
  readonly last: number;
  /** Newest durable offset that any valid header in the file carries, also behind the bad place. */
  readonly durable: number;
  readonly bad: BadPlace | undefined;
  /** Position behind the last byte that is not zero. */
  readonly dataEnd: number;
}

/** Where a scan ends: the bad place, or that of the frame that would come next. */
export function endOfScan(scan: SegmentScan): BadPlace {
  return scan.bad ?? { frame: scan.frames.length, position: scan.end, what: 'frames are missing' };
}

/** What came before the place that a scan begins at. */
export interface ScanStart {
  readonly last: number;
  readonly crc: number;
  readonly time: number;
  readonly frame: number;
}

/** Checks the frames of a segment, whose file content is `buffer`, from `from` on. */
export function scanSegment(buffer: Buffer, header: SegmentHeader, from?: number, previous?: ScanStart): SegmentScan {
  return atOnce(scanning(buffer, header, from, previous));
}

/** The same step by step. */
export function* scanning(
  buffer: Buffer,
  header: SegmentHeader,
  from: number = header.framesAt,
  previous: ScanStart = { last: header.firstOffset - 1, crc: header.previousCrc, time: 0, frame: 0 },
): Generator<number, SegmentScan> {
  const seed = segmentSeed(header);
  const dataEnd = yield* findingEnd(buffer, from);
  const frames: ScannedFrame[] = [];
  const found = new FrameHeader();
  let at = from;
  let { last, crc, time } = previous;
  let durable = 0;
  let what: string | undefined;
  while (at < dataEnd) {
    what = checkFrame(buffer, at, seed, header, found, last, crc, time);
    if (what !== undefined) break;
    const { length, count, first, durable: newest, time: newestTime, crc: own } = found;
    frames.push({ position: at, length, count, first, last: found.last, durable: newest, time: newestTime, crc: own });
    // the frame that closes a rewritten segment carries on to where its records ended
    if (count > 0 || header.rewritten !== undefined) last = found.last;
    crc = found.crc;
    time = found.time;
    durable = Math.max(durable, found.durable);
    at += found.length;
    yield found.count + 1;
  }
  const bad = what === undefined ? undefined : { frame: previous.frame + frames.length, position: at, what };
  if (bad !== undefined) {
    // what lies behind says whether this was durable
    for (let next = findFrame(buffer, at, seed, found); next !== -1; ) {
      durable = Math.max(durable, found.durable);
      next = findFrame(buffer, next + frameHeaderBytes, seed, found);
    }
  }
  return { frames, end: at, last, durable, bad, dataEnd };
}

/** What is wrong with the frame at `at`; `found` is its header when nothing is. */
function checkFrame(
  buffer: Buffer,
  at: number,
  seed: number,
  segment: SegmentHeader,
  found: FrameHeader,
  last: number,
  crc: number,
  time: number,
): string | undefined {
  if (at + frameHeaderBytes > buffer.length || !found.read(buffer, at, seed)) return 'no valid frame header';
  if (!found.bodyIsWhole(buffer, at, seed)) return 'the frame fails its checksum';
  if (found.previousCrc !== crc) return 'the frame does not follow the one before it';
  if (found.count === 0) return found.bodyBytes === 0 ? misplacedEnd(segment, found) : 'an empty frame has a body';
  const dense = segment.generation === 0;
  if (dense ? found.first !== last + 1 : found.first <= last)
    return `the frame begins at offset ${found.first}, the one before it ends at ${last}`;
  if (found.time < time) return 'time runs backwards';
  return checkRecords(buffer, at, seed, segment, found, last);
}

/** Only one empty frame is in a rewritten segment, at its end. */
function misplacedEnd({ rewritten }: SegmentHeader, { last }: FrameHeader): string | undefined {
  return rewritten === undefined || last === rewritten.lastOffset
    ? undefined
    : `the frame ends the segment at offset ${last} instead of ${rewritten.lastOffset}`;
}

function checkRecords(
  buffer: Buffer,
  at: number,
  seed: number,
  segment: SegmentHeader,
  found: FrameHeader,
  before: number,
): string | undefined {
  const end = at + found.length;
  let record = at + frameHeaderBytes;
  let last = before;
  for (let i = 0; i < found.count; i++) {
    if (record + recordHeaderBytes > end || !recordIsWhole(buffer, record, seed))
      return `record ${i} of the frame fails its checksum`;
    const offset = recordOffset(buffer, record, segment.firstOffset);
    if (offset <= last) return `record ${i} of the frame has offset ${offset} after ${last}`;
    last = offset;
    record += recordLength(buffer, record);
  }
  if (last !== found.last) return `the frame ends at offset ${last} instead of ${found.last}`;
  const rest = end - record;
  const padding = rest < 8 || (rest < blockBytes && buffer.compare(zeros, 0, rest, record, end) === 0);
  return padding ? undefined : 'bytes behind the last record of the frame';
}

const zeros = Buffer.alloc(64 * 1024);
/** To look through them is as much work as so many records. */
const stepsOfZeros = 16;

/** Position behind the last byte that is not zero, at least `from`. */
function* findingEnd(buffer: Buffer, from: number): Generator<number, number> {
  let end = buffer.length;
  while (end - from >= zeros.length && buffer.compare(zeros, 0, zeros.length, end - zeros.length, end) === 0) {
    end -= zeros.length;
    yield stepsOfZeros;
  }
  while (end > from && buffer[end - 1] === 0) end--;
  return end;
}
