import { type BatchTopics, BatchTopicsBuilder } from './batch-topics.ts';
import type { LogRecord } from './record.ts';
import { type TopicHash, topicHash } from './topic-hash.ts';

/**
 * Committed records in order of offset, as the hot tail keeps them. Records are made when somebody asks: held for long as
 * objects, 200,000 of them keep the garbage collector busy for a quarter of the time.
 */
export abstract class RecordBatch {
  abstract readonly count: number;
  readonly topics: BatchTopics;
  readonly first: number;
  readonly last: number;

  constructor(topics: BatchTopics, first: number, last: number) {
    this.topics = topics;
    this.first = first;
    this.last = last;
  }

  /** About how many bytes of memory it takes; budgets count with it. */
  abstract get weight(): number;
  abstract offsetAt(index: number): number;
  abstract timeAt(index: number): number;
  abstract record(index: number): LogRecord;

  /** Index of the first record with an offset above `offset`. */
  indexAfter(offset: number): number {
    // offsets may have holes, but hardly ever have
    if (this.last - this.first === this.count - 1) return Math.min(Math.max(offset + 1 - this.first, 0), this.count);
    let low = 0;
    let high = this.count;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.offsetAt(mid) <= offset) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Index of the first record with time ≥ `time`. */
  indexSince(time: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.timeAt(mid) < time) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** Nobody will ask it for anything any more: what it takes of the hot tail's memory is used again. */
  release(): void {}

  *records(): Generator<LogRecord> {
    for (let i = 0; i < this.count; i++) yield this.record(i);
  }
}

/** A batch of records that are there as objects. */
export class PlainBatch extends RecordBatch {
  readonly #records: readonly LogRecord[];

  /** `records` must hold one. */
  constructor(records: readonly LogRecord[], hash: TopicHash = topicHash) {
    super(
      topicsOf(
        records.map(({ topic }) => topic),
        topic => hash.of(topic),
      ),
      records[0]!.offset,
      records[records.length - 1]!.offset,
    );
    this.#records = records;
  }

  get count(): number {
    return this.#records.length;
  }

  get weight(): number {
    let weight = 0;
    for (const record of this.#records) weight += record.weight;
    return weight;
  }

  offsetAt(index: number): number {
    return this.#records[index]!.offset;
  }

  timeAt(index: number): number {
    return this.#records[index]!.time;
  }

  record(index: number): LogRecord {
    return this.#records[index]!;
  }
}

/** Some records of another batch, in whose place it is. The memory of the others goes when that one's does. */
export class PickedBatch extends RecordBatch {
  readonly #source: RecordBatch;
  /** Of each record, its index there. */
  readonly #picked: readonly number[];

  /** `picked` ascends and must not be empty. */
  constructor(source: RecordBatch, picked: readonly number[]) {
    super(
      topicsOf(
        picked.map(index => source.topics.names[source.topics.of(index)]!),
        (_, i) => source.topics.hashOf(source.topics.of(picked[i]!)),
      ),
      source.offsetAt(picked[0]!),
      source.offsetAt(picked[picked.length - 1]!),
    );
    // thousands of topics may go from one batch, one after another
    const ofPicked = source instanceof PickedBatch;
    this.#source = ofPicked ? source.#source : source;
    this.#picked = ofPicked ? picked.map(index => source.#picked[index]!) : picked;
  }

  get count(): number {
    return this.#picked.length;
  }

  get weight(): number {
    return this.#source.weight;
  }

  offsetAt(index: number): number {
    return this.#source.offsetAt(this.#picked[index]!);
  }

  timeAt(index: number): number {
    return this.#source.timeAt(this.#picked[index]!);
  }

  record(index: number): LogRecord {
    return this.#source.record(this.#picked[index]!);
  }

  override release(): void {
    this.#source.release();
  }
}

/** `names`: the topic of each record. */
function topicsOf(names: readonly string[], hashOf: (topic: string, index: number) => number): BatchTopics {
  const topics = new BatchTopicsBuilder();
  const numbers = new Map<string, number>();
  for (let i = 0; i < names.length; i++) {
    const topic = names[i]!;
    const known = numbers.get(topic);
    if (known === undefined) {
      topics.add(numbers.size, topic, hashOf(topic, i));
      numbers.set(topic, numbers.size);
    } else topics.add(known, topic, 0);
  }
  return topics.finish();
}
