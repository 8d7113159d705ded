import type { RecordBatch } from './record-batch.ts';

const none: number[] = [];

/** The held batches with records of one topic, oldest first, and where in each its records begin. */
export class TopicTail {
  /** Batches before it are dropped. */
  start = 0;
  end = 1;
  // of a single batch: most topics of a wide log are in no more, for which two arrays each would be much
  #batch: RecordBatch;
  #first: number;
  #batches: RecordBatch[] | undefined;
  #firsts: number[] = none;

  constructor(batch: RecordBatch, first: number) {
    this.#batch = batch;
    this.#first = first;
  }

  push(batch: RecordBatch, first: number): void {
    if (this.#batches === undefined) {
      this.#batches = [this.#batch];
      this.#firsts = [this.#first];
    }
    this.#batches.push(batch);
    this.#firsts.push(first);
    this.end++;
  }

  batch(b: number): RecordBatch {
    return this.#batches === undefined ? this.#batch : this.#batches[b]!;
  }

  /** Index of the topic's first record in batch `b`. */
  first(b: number): number {
    return this.#batches === undefined ? this.#first : this.#firsts[b]!;
  }

  /** The first batch that ends above `offset`. */
  batchAfter(offset: number): number {
    if (this.#batches === undefined) return this.#batch.last > offset ? 0 : 1;
    return firstEndingAtLeast(this.#batches, this.start, offset + 1);
  }

  /** Index in batch `b` of the topic's first record above `offset`, or −1. */
  indexAfter(b: number, offset: number): number {
    const batch = this.batch(b);
    if (batch.topics.names.length === 1) {
      const index = batch.indexAfter(offset);
      return index < batch.count ? index : -1;
    }
    let index = this.first(b);
    while (index !== -1 && batch.offsetAt(index) <= offset) index = batch.topics.after(index);
    return index;
  }

  /** The same with other batches in the place of some; undefined when nothing is left. */
  replace(topic: string, replaced: ReadonlyMap<RecordBatch, RecordBatch | undefined>): TopicTail | undefined {
    let tail: TopicTail | undefined;
    for (let b = this.start; b < this.end; b++) {
      const batch = this.batch(b);
      const left = replaced.has(batch) ? replaced.get(batch) : batch;
      const number = left?.topics.names.indexOf(topic) ?? -1;
      if (left === undefined || number === -1) continue;
      const first = left.topics.firstOf(number);
      if (tail === undefined) tail = new TopicTail(left, first);
      else tail.push(left, first);
    }
    return tail;
  }

  dropFirst(): void {
    this.start++;
    if (this.#batches === undefined) return;
    this.#batches[this.start - 1] = undefined as never;
    if (this.start > 256 && this.start * 2 > this.#batches.length) {
      this.#batches = this.#batches.slice(this.start);
      this.#firsts = this.#firsts.slice(this.start);
      this.end -= this.start;
      this.start = 0;
    }
  }
}

/** Index of the first batch from `start` on that ends at `offset` or later. */
export function firstEndingAtLeast(batches: readonly RecordBatch[], start: number, offset: number): number {
  let low = start;
  let high = batches.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (batches[mid]!.last < offset) low = mid + 1;
    else high = mid;
  }
  return low;
}
