import { encodedBound } from '../intake.ts';
import type { PendingAppend } from '../pending-append.ts';
import type { RecordSource } from '../record.ts';
import { BatchTopics } from '../record-batch.ts';
import type { ActiveIndex, ActiveTopic } from './active-index.ts';
import { EncodedBatch } from './encoded-batch.ts';
import { finishFrame, frameHeaderBytes, frameTargetBytes, writeFrame } from './frame.ts';
import { align8 } from './integers.ts';
import {
  encodeRecord,
  recordEndsTopic,
  recordHasId,
  recordIsRemembered,
  recordOffset,
  recordTime,
} from './record-codec.ts';
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
  readonly appends: PendingAppend[] = [];
  /** Where in the buffer each record begins. */
  readonly #places: number[] = [];
  readonly #topics = new BatchTopics();
  // of the segment's index, beside the names in #topics
  readonly #active: ActiveTopic[] = [];
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

  /** Records in it. */
  get count(): number {
    return this.#places.length;
  }

  get lastOffset(): number {
    return this.#offsetAt(this.#places.length - 1);
  }

  get lastTime(): number {
    return this.#timeAt(this.#places.length - 1);
  }

  /** Hot. */
  add(record: RecordSource, offset: number, time: number): void {
    const needed = this.length + encodedBound(record) + frameOverhead;
    if (needed > this.buffer.length) this.#enlarge(needed);
    if (this.#open && this.length - this.#frames[this.#frames.length - 1]! >= frameTargetBytes) this.#closeFrame();
    if (!this.#open) {
      this.#frames.push(this.length);
      this.#firstOf.push(this.#places.length);
      this.length += frameHeaderBytes;
      this.#open = true;
    }
    const { segment } = this;
    const number = this.#topics.add(record.topic);
    if (number === this.#active.length) this.#active.push((segment.index as ActiveIndex).topic(record.topic));
    this.#places.push(this.length);
    const ahead = offset - segment.firstOffset;
    this.length = encodeRecord(
      this.buffer,
      this.length,
      record,
      ahead,
      time,
      this.#active[number]!.number,
      segment.seed,
    );
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
    const { segment, buffer } = this;
    const index = segment.index as ActiveIndex;
    const places = this.#places;
    for (let i = 0; i < places.length; i++) {
      const place = places[i]!;
      const offset = this.#offsetAt(i);
      const number = this.#topics.of(i);
      index.add(this.#active[number]!, this.position + place, offset, this.#timeAt(i));
      if (recordIsRemembered(buffer, place)) segment.remembered++;
      if (recordHasId(buffer, place)) segment.ids++;
      if (recordEndsTopic(buffer, place)) index.ended.push([this.#topics.names[number]!, offset]);
    }
    for (let f = 0; f < this.#frames.length; f++) {
      const first = this.#firstOf[f]!;
      const next = this.#firstOf[f + 1] ?? places.length;
      index.sparse.add(this.#offsetAt(first), this.position + this.#frames[f]!, this.#timeAt(next - 1));
    }
    if (segment.records === 0) segment.firstTime = this.#timeAt(0);
    segment.records += places.length;
    segment.lastOffset = this.lastOffset;
    segment.lastTime = this.lastTime;
    segment.lastFrameAt = this.position + this.#frames[this.#frames.length - 1]!;
    segment.end = this.position + this.length;
  }

  /** For the hot tail, with bytes of its own: the buffer is used again. Hot. */
  toRecords(): EncodedBatch {
    const bytes = Buffer.allocUnsafe(this.length);
    this.buffer.copy(bytes, 0, 0, this.length);
    this.#topics.close();
    return new EncodedBatch(bytes, this.#places, this.#topics, this.segment.firstOffset);
  }

  #offsetAt(index: number): number {
    return recordOffset(this.buffer, this.#places[index]!, this.segment.firstOffset);
  }

  #timeAt(index: number): number {
    return recordTime(this.buffer, this.#places[index]!);
  }

  #closeFrame(): void {
    const at = this.#frames[this.#frames.length - 1]!;
    const first = this.#firstOf[this.#firstOf.length - 1]!;
    const end = align8(this.length);
    // the buffer is used again and again: padding must be written
    this.buffer.fill(0, this.length, end);
    this.length = end;
    writeFrame(
      this.buffer,
      at,
      end,
      this.#places.length - first,
      this.#offsetAt(first),
      this.lastOffset,
      this.lastTime,
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
