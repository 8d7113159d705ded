import { LogRecord } from '../record.ts';
import { RecordBatch } from '../record-batch.ts';

/** A batch of a partition at its place in the weave. It shares the memory of the batch. */
export class WovenBatch extends RecordBatch {
  readonly #source: RecordBatch;
  /** What to add to the offsets in the partition. */
  readonly #shift: number;

  constructor(source: RecordBatch, shift: number) {
    super(source.topics, source.first + shift, source.last + shift);
    this.#source = source;
    this.#shift = shift;
  }

  get count(): number {
    return this.#source.count;
  }

  get weight(): number {
    return this.#source.weight;
  }

  offsetAt(index: number): number {
    return this.#source.offsetAt(index) + this.#shift;
  }

  timeAt(index: number): number {
    return this.#source.timeAt(index);
  }

  record(index: number): LogRecord {
    const record = this.#source.record(index);
    return placed(record, record.offset + this.#shift);
  }
}

/** A record of a partition as the woven log counts. */
export function placed(record: LogRecord, place: number): LogRecord {
  return new LogRecord(place, record.time, record, record.offset);
}
