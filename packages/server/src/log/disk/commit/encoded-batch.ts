import type { BatchTopics } from '../../batch-topics.ts';
import type { LogRecord } from '../../record.ts';
import { RecordBatch } from '../../record-batch.ts';
import {
  decodeRecord,
  recordEndsTopic,
  recordIsRemembered,
  recordOffset,
  recordTime,
} from '../segment/record-codec.ts';

/** Committed records as they are encoded, in memory of their own that does not change. */
export class EncodedBatch extends RecordBatch {
  readonly #bytes: Buffer;
  /** Where in the bytes each record begins. */
  readonly #places: Int32Array;
  readonly #firstOffset: number;

  /** `firstOffset`: of the segment. The bytes must not change any more. */
  constructor(bytes: Buffer, places: Int32Array, topics: BatchTopics, firstOffset: number) {
    const last = places[places.length - 1]!;
    super(topics, recordOffset(bytes, places[0]!, firstOffset), recordOffset(bytes, last, firstOffset));
    this.#bytes = bytes;
    this.#places = places;
    this.#firstOffset = firstOffset;
  }

  get count(): number {
    return this.#places.length;
  }

  get weight(): number {
    return this.#bytes.length + 24 * this.#places.length + 100 * this.topics.names.length + 300;
  }

  offsetAt(index: number): number {
    return recordOffset(this.#bytes, this.#places[index]!, this.#firstOffset);
  }

  timeAt(index: number): number {
    return recordTime(this.#bytes, this.#places[index]!);
  }

  endsTopic(index: number): boolean {
    return recordEndsTopic(this.#bytes, this.#places[index]!);
  }

  /** Whether de-duplication cares about the record. */
  isRemembered(index: number): boolean {
    return recordIsRemembered(this.#bytes, this.#places[index]!);
  }

  /** Its data is a view of the batch's bytes. */
  record(index: number): LogRecord {
    const topic = this.topics.names[this.topics.of(index)]!;
    return decodeRecord(this.#bytes, this.#places[index]!, this.#firstOffset, topic);
  }
}
