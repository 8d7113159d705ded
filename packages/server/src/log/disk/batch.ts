import { encodedBound } from '../intake.ts';
import type { PendingAppend } from '../pending-append.ts';
import type { LogRecord } from '../record.ts';
import type { ActiveIndex, ActiveTopic } from './active-index.ts';
import { finishFrame, frameHeaderBytes, frameTargetBytes, writeFrame } from './frame.ts';
import { align8 } from './integers.ts';
import { encodeRecord } from './record-codec.ts';
import type { Segment } from './segment.ts';

/** Most bytes of one write, unless a single record is larger. */
export const batchBytes: number = 1024 * 1024;

/** Bytes to keep free in front of a record: a frame header and padding. */
export const frameOverhead: number = frameHeaderBytes + 8;

/**
 * Records on their way to one write, encoded as they come; the appends that wait for it; and what the index has to learn
 * when it is committed. Its place in the file is fixed from the start, since records carry their segment's seed.
 */
export class Batch {
  readonly segment: Segment;
  /** Where in the file it goes. */
  readonly position: number;
  buffer: Buffer;
  length = 0;
  /** Whether any of it must be synced before it is committed. */
  sync = false;
  /** When the first append came, monotonic ms. */
  readonly since: number;
  /** Bytes that count as pending until it is committed. */
  counted = 0;
  readonly records: LogRecord[] = [];
  readonly appends: PendingAppend[] = [];
  // beside `records`, one for each
  readonly #topics: ActiveTopic[] = [];
  readonly #positions: number[] = [];
  // frames: where each begins in the buffer, and which record is its first
  readonly #frames: number[] = [];
  readonly #firstOf: number[] = [];
  #open = false;

  constructor(segment: Segment, position: number, buffer: Buffer, since: number) {
    this.segment = segment;
    this.position = position;
    this.buffer = buffer;
    this.since = since;
  }

  get lastOffset(): number {
    return this.records[this.records.length - 1]!.offset;
  }

  /** Hot. */
  add(record: LogRecord): void {
    const needed = this.length + encodedBound(record) + frameOverhead;
    if (needed > this.buffer.length) this.#enlarge(needed);
    if (this.#open && this.length - this.#frames[this.#frames.length - 1]! >= frameTargetBytes) this.#closeFrame();
    if (!this.#open) {
      this.#frames.push(this.length);
      this.#firstOf.push(this.records.length);
      this.length += frameHeaderBytes;
      this.#open = true;
    }
    const { segment } = this;
    const topic = (segment.index as ActiveIndex).topic(record.topic);
    this.#topics.push(topic);
    this.#positions.push(this.position + this.length);
    this.records.push(record);
    this.length = encodeRecord(this.buffer, this.length, record, segment.firstOffset, topic.number, segment.seed);
  }

  /** Nothing more will be added. */
  close(): void {
    if (this.#open) this.#closeFrame();
  }

  /** Completes the frame headers at the moment of writing; returns the crc of the last. Hot. */
  finish(durable: number, previousCrc: number): number {
    let crc = previousCrc;
    for (const at of this.#frames) crc = finishFrame(this.buffer, at, durable, crc, this.segment.seed);
    return crc;
  }

  /** Tells the segment what has been committed. Hot. */
  commitToIndex(): void {
    const { segment, records } = this;
    const index = segment.index as ActiveIndex;
    for (let i = 0; i < records.length; i++) {
      const record = records[i]!;
      index.add(this.#topics[i]!, this.#positions[i]!, record.offset, record.time);
      if (record.id !== undefined || record.producer !== undefined) segment.remembered++;
      if (record.end) index.ended.push([record.topic, record.offset]);
    }
    for (let f = 0; f < this.#frames.length; f++) {
      const next = this.#firstOf[f + 1] ?? records.length;
      index.sparse.add(records[this.#firstOf[f]!]!.offset, this.position + this.#frames[f]!, records[next - 1]!.time);
    }
    if (segment.records === 0) segment.firstTime = records[0]!.time;
    segment.records += records.length;
    segment.lastOffset = this.lastOffset;
    segment.lastTime = records[records.length - 1]!.time;
    segment.lastFrameAt = this.position + this.#frames[this.#frames.length - 1]!;
    segment.end = this.position + this.length;
  }

  #closeFrame(): void {
    const at = this.#frames[this.#frames.length - 1]!;
    const first = this.#firstOf[this.#firstOf.length - 1]!;
    const last = this.records[this.records.length - 1]!;
    const end = align8(this.length);
    // the buffer is used again and again: padding must be written
    this.buffer.fill(0, this.length, end);
    this.length = end;
    const firstOffset = this.records[first]!.offset;
    writeFrame(
      this.buffer,
      at,
      end,
      this.records.length - first,
      firstOffset,
      last.offset,
      last.time,
      this.segment.seed,
    );
    this.#open = false;
  }

  #enlarge(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    larger.set(this.buffer.subarray(0, this.length));
    this.buffer = larger;
  }
}

/** Buffers that wait for the next batch: the steady state allocates none. */
export class BatchBuffers {
  readonly #free: Buffer[] = [];

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(64 * 1024);
  }

  give(buffer: Buffer): void {
    if (this.#free.length < 4 && buffer.length <= batchBytes * 2) this.#free.push(buffer);
  }
}
