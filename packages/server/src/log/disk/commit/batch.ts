import type { HotMemory } from '../../hot-memory.ts';
import { encodedBound } from '../../intake.ts';
import type { PendingAppend } from '../../pending-append.ts';
import type { RecordSource } from '../../record.ts';
import type { ActiveIndex } from '../index/active-index.ts';
import { finishFrame, frameHeaderBytes, frameTargetBytes, writeFrame } from '../segment/frame.ts';
import { encodeRecord, recordHeaderBytes, recordOffset, recordTime, writeTopic } from '../segment/record-codec.ts';
import type { Segment } from '../segment/segment.ts';
import type { BatchSpace } from './batch-space.ts';
import { HeldBatch } from './held-batch.ts';

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
  /** Whoever made the batch uses it for another once this one is done. */
  readonly space: BatchSpace;
  length = 0;
  /** Records in it. */
  count = 0;
  /** Whether any of it must be synced before it is committed. */
  sync = false;
  /** When the first append came, monotonic ms. */
  readonly since: number;
  /** Bytes that count as pending until it is committed. */
  counted = 0;
  readonly appends: PendingAppend[] = [];
  readonly #index: ActiveIndex;
  /** What tells it from the other batches of its segment. */
  readonly #serial: number;
  // the topic of the newest record, its hash, and its numbers in the segment and in the batch
  #newest: string | undefined;
  #hash = 0;
  #number = 0;
  #numberInBatch = 0;
  // records that de-duplication cares about, those with an id among them, and ends of topics
  #remembered = 0;
  #ids = 0;
  #ended: (readonly [topic: string, offset: number])[] | undefined;
  // frames: where each begins in the buffer, and which record is its first
  readonly #frames: number[] = [];
  readonly #firstOf: number[] = [];
  #open = false;
  #recordsEnd = 0;

  constructor(segment: Segment, position: number, space: BatchSpace, since: number) {
    this.segment = segment;
    this.position = position;
    this.space = space;
    this.since = since;
    this.#index = segment.index as ActiveIndex;
    this.#serial = this.#index.nextBatch();
    space.topics.clear();
  }

  /** Its bytes, of which `length` are used. */
  get buffer(): Buffer {
    return this.space.buffer;
  }

  get lastOffset(): number {
    return this.#offsetAt(this.count - 1);
  }

  get lastTime(): number {
    return this.#timeAt(this.count - 1);
  }

  /** `bound`: at least as many bytes as the record has. Hot. */
  add(record: RecordSource, offset: number, time: number, bound: number = encodedBound(record)): void {
    const { segment, space } = this;
    const needed = this.length + bound + frameOverhead;
    if (needed > space.buffer.length) space.enlarge(needed, this.length);
    if (this.#open && this.length - this.#frames[this.#frames.length - 1]! >= frameTargetBytes) this.#closeFrame();
    if (!this.#open) {
      this.#frames.push(this.length);
      this.#firstOf.push(this.count);
      this.length += frameHeaderBytes;
      this.#open = true;
    }
    const topicEnd = writeTopic(space.buffer, this.length, record.topic);
    if (record.topic !== this.#newest) this.#turnTo(record.topic, topicEnd);
    space.topics.add(this.#numberInBatch, record.topic, this.#hash);
    space.place(this.count++, this.length, this.#number);
    if (record.id !== undefined || record.producer !== undefined) this.#remembered++;
    if (record.id !== undefined) this.#ids++;
    if (record.end) (this.#ended ??= []).push([record.topic, offset]);
    const ahead = offset - segment.firstOffset;
    const { buffer, view } = space;
    this.length = encodeRecord(buffer, view, this.length, record, ahead, time, this.#number, segment.seed, topicEnd);
  }

  /** Nothing more will be added. It ends at a multiple of `border` in the file. */
  close(border = 8): void {
    if (this.#open) this.#closeFrame(border);
  }

  /** Completes the frame headers at the moment of writing; returns the crc of the last. Hot. */
  finish(durable: number, previousCrc: number): number {
    let crc = previousCrc;
    for (const at of this.#frames) crc = finishFrame(this.buffer, at, durable, crc, this.segment.seed);
    return crc;
  }

  /** Tells the segment what has been committed. Hot. */
  commitToIndex(): void {
    const { segment, count } = this;
    const { places, numbers } = this.space;
    const index = this.#index;
    for (let i = 0; i < count; i++)
      index.add(numbers[i]!, this.position + places[i]!, this.#offsetAt(i), this.#timeAt(i));
    segment.remembered += this.#remembered;
    segment.ids += this.#ids;
    if (this.#ended !== undefined) index.ended.push(...this.#ended);
    for (let f = 0; f < this.#frames.length; f++) {
      const first = this.#firstOf[f]!;
      const next = this.#firstOf[f + 1] ?? count;
      index.sparse.add(this.#offsetAt(first), this.position + this.#frames[f]!, this.#timeAt(next - 1));
    }
    if (segment.records === 0) segment.firstTime = this.#timeAt(0);
    segment.records += count;
    segment.lastOffset = this.lastOffset;
    segment.lastTime = this.lastTime;
    segment.lastFrameAt = this.position + this.#frames[this.#frames.length - 1]!;
    segment.end = this.position + this.length;
  }

  /** For the hot tail, in its memory: the space is used again. Hot. */
  toRecords(memory: HotMemory): HeldBatch {
    const { buffer, places, topics } = this.space;
    const { count } = this;
    const size = this.#recordsEnd;
    const words = Math.ceil(size / 4);
    const place = memory.take((words + count + topics.tableLength) * 4);
    const { bytes, numbers } = place.chunk;
    buffer.copy(bytes, place.at, 0, size);
    const placesAt = place.at / 4 + words;
    for (let i = 0; i < count; i++) numbers[placesAt + i] = place.at + places[i]!;
    const batchTopics = topics.finish(numbers, placesAt + count);
    return new HeldBatch(memory, place, placesAt, count, size, batchTopics, this.segment.firstOffset);
  }

  /** To the topic of the record that is being added, which ends at `end`. Hot. */
  #turnTo(topic: string, end: number): void {
    const { view, topics } = this.space;
    const start = this.length + recordHeaderBytes;
    this.#newest = topic;
    this.#hash = this.#index.hash.ofBytes(view, start, end);
    this.#number = this.#index.numberFor(view, start, end, this.#hash);
    this.#numberInBatch = this.#index.numberInBatch(this.#number, this.#serial, topics.topicCount);
  }

  #offsetAt(index: number): number {
    return recordOffset(this.buffer, this.space.places[index]!, this.segment.firstOffset);
  }

  #timeAt(index: number): number {
    return recordTime(this.buffer, this.space.places[index]!);
  }

  #closeFrame(border = 8): void {
    const at = this.#frames[this.#frames.length - 1]!;
    const first = this.#firstOf[this.#firstOf.length - 1]!;
    this.#recordsEnd = this.length;
    const end = Math.ceil((this.position + this.length) / border) * border - this.position;
    if (end > this.space.buffer.length) this.space.enlarge(end, this.length);
    // the buffer is used again and again: padding must be written
    this.buffer.fill(0, this.length, end);
    this.length = end;
    writeFrame(
      this.buffer,
      at,
      end,
      this.count - first,
      this.#offsetAt(first),
      this.lastOffset,
      this.lastTime,
      this.segment.seed,
    );
    this.#open = false;
  }
}
