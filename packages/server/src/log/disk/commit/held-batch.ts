import type { BatchTopics } from '../../batch-topics.ts';
import type { HotMemory, HotPlace } from '../../hot-memory.ts';
import type { LogRecord } from '../../record.ts';
import { RecordBatch } from '../../record-batch.ts';
import { copyOf, decodeRecord, recordEndsTopic, recordOffset, recordTime } from '../segment/record-codec.ts';

/** A batch in the hot tail's memory: who asks it for anything once it is released gets an error, not another's bytes. */
export class HeldBatch extends RecordBatch {
  readonly count: number;
  readonly weight: number;
  readonly #memory: HotMemory;
  readonly #place: HotPlace;
  readonly #firstOffset: number;
  #bytes: Buffer;
  /** Where in the bytes each record begins, from `#placesAt` on. */
  readonly #places: Int32Array;
  readonly #placesAt: number;

  /** `size`: of its bytes; `firstOffset`: of the segment; `topics` are kept at the place too. */
  constructor(
    memory: HotMemory,
    place: HotPlace,
    placesAt: number,
    count: number,
    size: number,
    topics: BatchTopics,
    firstOffset: number,
  ) {
    const { bytes, numbers } = place.chunk;
    const last = numbers[placesAt + count - 1]!;
    super(topics, recordOffset(bytes, numbers[placesAt]!, firstOffset), recordOffset(bytes, last, firstOffset));
    this.count = count;
    this.weight = size + 24 * count + 100 * topics.names.length + 300;
    this.#memory = memory;
    this.#place = place;
    this.#firstOffset = firstOffset;
    this.#bytes = bytes;
    this.#places = numbers;
    this.#placesAt = placesAt;
  }

  offsetAt(index: number): number {
    return recordOffset(this.#bytes, this.#places[this.#placesAt + index]!, this.#firstOffset);
  }

  timeAt(index: number): number {
    return recordTime(this.#bytes, this.#places[this.#placesAt + index]!);
  }

  endsTopic(index: number): boolean {
    return recordEndsTopic(this.#bytes, this.#places[this.#placesAt + index]!);
  }

  /** Its data is a copy: who has the record may keep it. */
  record(index: number): LogRecord {
    const topic = this.topics.names[this.topics.of(index)]!;
    return decodeRecord(this.#bytes, this.#places[this.#placesAt + index]!, this.#firstOffset, topic, copyOf);
  }

  override release(): void {
    if (this.#bytes === released) return;
    this.#bytes = released;
    this.#memory.give(this.#place);
  }
}

const released = Buffer.alloc(0);
