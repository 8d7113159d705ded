import type { LogRecord } from './record.ts';

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

  *records(): Generator<LogRecord> {
    for (let i = 0; i < this.count; i++) yield this.record(i);
  }
}

/** A batch of records that are there as objects. */
export class PlainBatch extends RecordBatch {
  readonly #records: readonly LogRecord[];

  /** `records` must hold one. */
  constructor(records: readonly LogRecord[]) {
    const topics = new BatchTopics();
    for (const record of records) topics.add(record.topic);
    super(topics, records[0]!.offset, records[records.length - 1]!.offset);
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

/** Some records of another batch. The memory of the others goes when that one's does. */
export class PickedBatch extends RecordBatch {
  readonly #source: RecordBatch;
  /** Of each record, its index there. */
  readonly #picked: readonly number[];

  /** `picked` ascends and must not be empty. */
  constructor(source: RecordBatch, picked: readonly number[]) {
    const topics = new BatchTopics();
    for (const index of picked) topics.add(source.topics.names[source.topics.of(index)]!);
    topics.close();
    super(topics, source.offsetAt(picked[0]!), source.offsetAt(picked[picked.length - 1]!));
    this.#source = source;
    this.#picked = picked;
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
}

/**
 * The distinct topics of a batch in order of appearance, and the way from each record to the next with its topic.
 *
 *      topics    a ──┐     b ──┐               records   0   1   2   3   4
 *      firsts        0         1               topicOf   a   b   a   a   b
 *                                              next      2   4   3   –   –
 */
export class BatchTopics {
  readonly names: string[] = [];
  /** Index of each topic's first record. */
  readonly firsts: number[] = [];
  // of each record; empty while there is one topic
  readonly #topicOf: number[] = [];
  readonly #next: number[] = [];
  // while it is filled: index of each topic's last record, and the topics by name
  #lasts: number[] = [];
  #byName: Map<string, number> | undefined;
  #newest = 0;
  #count = 0;

  /** Takes the topic of the next record; returns its number. Hot. */
  add(topic: string): number {
    const index = this.#count++;
    const { names } = this;
    let number = this.#newest;
    if (names[number] !== topic) {
      number = this.#numberOf(topic);
      this.#newest = number;
    }
    if (names.length > 1) {
      this.#topicOf.push(number);
      this.#next.push(-1);
      const last = this.#lasts[number]!;
      if (last !== index) this.#next[last] = index;
    }
    this.#lasts[number] = index;
    return number;
  }

  /** Number of the topic of a record. */
  of(index: number): number {
    return this.names.length === 1 ? 0 : this.#topicOf[index]!;
  }

  /** Index of the next record with the same topic, or −1. */
  after(index: number): number {
    if (this.names.length === 1) return index + 1 < this.#count ? index + 1 : -1;
    return this.#next[index]!;
  }

  /** Nothing more will be added. */
  close(): void {
    this.#lasts = [];
    this.#byName = undefined;
  }

  #numberOf(topic: string): number {
    const { names } = this;
    const index = this.#count - 1;
    if (names.length === 1) {
      this.#byName = new Map([[names[0]!, 0]]);
      for (let i = 0; i < index; i++) {
        this.#topicOf.push(0);
        this.#next.push(i + 1 < index ? i + 1 : -1);
      }
    }
    let number = this.#byName?.get(topic);
    if (number === undefined) {
      number = names.length;
      names.push(topic);
      this.firsts.push(index);
      this.#lasts.push(index);
      this.#byName?.set(topic, number);
    }
    return number;
  }
}
