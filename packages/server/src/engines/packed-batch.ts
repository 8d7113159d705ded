import { type BatchTopics, BatchTopicsBuilder, doubled } from '../log/batch-topics.ts';
import {
  decodeRecord,
  recordEndsTopic,
  recordHeaderBytes,
  recordIsRemembered,
  recordOffset,
  recordTime,
  recordTopicBytes,
} from '../log/disk/segment/record-codec.ts';

import { HotChunk } from '../log/hot-memory.ts';
import type { LogRecord } from '../log/record.ts';
import { RecordBatch } from '../log/record-batch.ts';
import { topicHash } from '../log/topic-hash.ts';
import { aheadAt, type PackedRecord, timeAt } from './packed-record.ts';
import { RecentTopics } from './recent-topics.ts';

/** Records as brokers hold them, in memory that goes when all batches that share it have gone. */
export class PackedBatch extends RecordBatch {
  readonly count: number;
  readonly weight: number;
  readonly #bytes: Buffer;
  /** Where in the bytes each record begins, from `#placesAt` on. */
  readonly #places: Int32Array;
  readonly #placesAt: number;

  /** The offset of the first record is `first`; the bytes must not change any more. */
  constructor(chunk: HotChunk, placesAt: number, count: number, size: number, topics: BatchTopics, first: number) {
    super(topics, first, recordOffset(chunk.bytes, chunk.numbers[placesAt + count - 1]!, first));
    this.count = count;
    this.weight = size + 24 * count + 100 * topics.names.length + 300;
    this.#bytes = chunk.bytes;
    this.#places = chunk.numbers;
    this.#placesAt = placesAt;
  }

  offsetAt(index: number): number {
    return recordOffset(this.#bytes, this.#places[this.#placesAt + index]!, this.first);
  }

  timeAt(index: number): number {
    return recordTime(this.#bytes, this.#places[this.#placesAt + index]!);
  }

  endsTopic(index: number): boolean {
    return recordEndsTopic(this.#bytes, this.#places[this.#placesAt + index]!);
  }

  /** Whether de-duplication cares about the record. */
  isRemembered(index: number): boolean {
    return recordIsRemembered(this.#bytes, this.#places[this.#placesAt + index]!);
  }

  /** Its data is a view of the batch's bytes. */
  record(index: number): LogRecord {
    const topic = this.topics.names[this.topics.of(index)]!;
    return decodeRecord(this.#bytes, this.#places[this.#placesAt + index]!, this.first, topic);
  }
}

/** Batches share memory of so many bytes: of its own for each, V8 would collect everything every few thousand records. */
const chunkBytes = 1024 * 1024;
let chunk = new HotChunk(0);

/** Collects records into one piece of memory: what the broker's client read them into can go. Used again for the next batch. */
export class PackedBatchBuilder {
  /** Bytes of the records so far. */
  size = 0;
  #count = 0;
  #first = 0;
  #bytes: Buffer = Buffer.alloc(scratchBytes);
  #places = new Int32Array(64);

  /** Takes a record that is from `start` to `end` of a buffer. Hot. */
  add(source: Buffer, start: number, end: number, offset: number, time: number): void {
    const at = this.size;
    this.size = at + end - start;
    if (this.size > this.#bytes.length) this.#makeRoom();
    if (this.#count === this.#places.length) this.#places = doubled(this.#places);
    if (this.#count === 0) this.#first = offset;
    this.#places[this.#count++] = at;
    const bytes = this.#bytes;
    source.copy(bytes, at, start, end);
    bytes.writeUInt32LE(offset - this.#first, at + aheadAt);
    bytes.writeUIntLE(time, at + timeAt, 6);
  }

  /** There must be a record. Hot. */
  finish(): PackedBatch {
    const size = this.size;
    const count = this.#count;
    addTopics(this.#bytes, this.#places, count, size);
    // numbers lie at multiples of four
    const numbersAhead = Math.ceil(size / 4);
    const needed = (numbersAhead + count + topicsBuilder.tableLength) * 4;
    // what would leave much of a chunk empty lies alone
    if (needed > chunkBytes / 2) return this.#finishIn(new HotChunk(needed), needed, numbersAhead);
    if (chunk.left < needed) chunk = new HotChunk(chunkBytes);
    return this.#finishIn(chunk, needed, numbersAhead);
  }

  #finishIn(into: HotChunk, needed: number, numbersAhead: number): PackedBatch {
    const { at } = into.take(needed);
    const { size } = this;
    const count = this.#count;
    this.#bytes.copy(into.bytes, at, 0, size);
    const placesAt = at / 4 + numbersAhead;
    for (let i = 0; i < count; i++) into.numbers[placesAt + i] = this.#places[i]! + at;
    const topics = topicsBuilder.finish(into.numbers, placesAt + count);
    this.size = 0;
    this.#count = 0;
    if (this.#bytes.length > keptBytes) this.#bytes = Buffer.alloc(scratchBytes);
    return new PackedBatch(into, placesAt, count, size, topics, this.#first);
  }

  #makeRoom(): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.size));
    this.#bytes.copy(larger);
    this.#bytes = larger;
  }
}

const scratchBytes = 64 * 1024;
/** Above, memory is not kept for the next batch. */
const keptBytes = 2 * 1024 * 1024;
const topicsBuilder = new BatchTopicsBuilder();
const recentTopics = new RecentTopics();

/** Hot. */
function addTopics(bytes: Buffer, places: Int32Array, count: number, size: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, size);
  const numbers = new Map<string, number>();
  topicsBuilder.clear();
  for (let i = 0; i < count; i++) {
    const place = places[i]!;
    const start = place + recordHeaderBytes;
    const end = start + recordTopicBytes(bytes, place);
    const hash = topicHash.ofBytes(view, start, end);
    const topic = recentTopics.of(bytes, start, end, hash);
    const known = numbers.get(topic);
    topicsBuilder.add(known ?? numbers.size, topic, hash);
    if (known === undefined) numbers.set(topic, numbers.size);
  }
}

/** `records`, of which there must be one, as a batch. */
export function packedBatch(records: readonly PackedRecord[]): PackedBatch {
  for (const { offset, time, bytes } of records) batchBuilder.add(bytes, 0, bytes.length, offset, time);
  return batchBuilder.finish();
}

const batchBuilder = new PackedBatchBuilder();
