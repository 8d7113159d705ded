import type { FilterSet } from '@tailrace/protocol';

/** How one segment is found through: the same for the active segment (in memory) and sealed ones (a file). */
export interface SegmentIndex {
  /** Topics that a record here ended, with its offset, in order of offset. */
  readonly ended: readonly (readonly [topic: string, offset: number])[];
  /** False: the segment certainly has no record of the topic. Never waits. */
  mayHold(topic: string): boolean;
  /** Positions of the topic's records in the file, ascending; undefined when it has none. */
  postings(topic: string): Promise<PostingList | undefined>;
  /** The topics that match, as a set over topic numbers. */
  matching(filters: FilterSet): Promise<TopicSet>;
  /** Topics that begin with `prefix` and come after `after`, in order, at most `limit`. */
  topics(prefix: string, after: string, limit: number): Promise<readonly IndexedTopic[]>;
  /** Position of a frame at or before the one that holds `offset`, close to it. */
  frameAt(offset: number): Promise<number>;
  /** Position of a frame before which every record is older than `time`, close to the first that is not. */
  frameSince(time: number): Promise<number>;
}

export type PostingList = readonly number[] | Uint32Array;

export interface IndexedTopic {
  readonly topic: string;
  /** Its number in the segment. */
  readonly number: number;
  /** Its records in the segment. */
  readonly count: number;
  readonly lastOffset: number;
  readonly lastTime: number;
}

/** Topic numbers as bits. */
export class TopicSet {
  /** How many numbers are in it. */
  size = 0;
  #bits: Uint8Array;

  constructor(capacity: number) {
    this.#bits = new Uint8Array((capacity >>> 3) + 1);
  }

  add(number: number): void {
    const byte = number >>> 3;
    if (byte >= this.#bits.length) {
      const larger = new Uint8Array(byte * 2 + 1);
      larger.set(this.#bits);
      this.#bits = larger;
    }
    this.#bits[byte]! |= 1 << (number & 7);
    this.size++;
  }

  /** Hot. */
  has(number: number): boolean {
    return (this.#bits[number >>> 3]! & (1 << (number & 7))) !== 0;
  }
}

/** At least this many bytes of log lie between two entries of the sparse index. */
export const sparseBytes = 8192;

/** Some frames of a segment in order: first offset, position, and the time of the newest record in the frame. */
export class SparseIndex {
  readonly offsets: number[];
  readonly positions: number[];
  readonly times: number[];

  constructor(offsets: number[] = [], positions: number[] = [], times: number[] = []) {
    this.offsets = offsets;
    this.positions = positions;
    this.times = times;
  }

  /** Takes frames in order and keeps some of them. */
  add(firstOffset: number, position: number, time: number): void {
    const { length } = this.positions;
    if (length > 0 && position - this.positions[length - 1]! < sparseBytes) return;
    this.offsets.push(firstOffset);
    this.positions.push(position);
    this.times.push(time);
  }

  /** Position of the last kept frame whose first offset is ≤ `offset`, or `otherwise`. */
  frameAt(offset: number, otherwise: number): number {
    return this.positions[firstAtLeast(this.offsets, offset + 1) - 1] ?? otherwise;
  }

  /** Position of the last kept frame all of whose records are older than `time`, or `otherwise`. */
  frameSince(time: number, otherwise: number): number {
    return this.positions[firstAtLeast(this.times, time) - 1] ?? otherwise;
  }
}

/** Index of the first that is at least `value`; behind the last when none is. */
export function firstAtLeast(ascending: PostingList, value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if (ascending[mid]! < value) low = mid + 1;
    else high = mid;
  }
  return low;
}
