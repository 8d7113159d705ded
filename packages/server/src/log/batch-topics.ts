/**
 * The distinct topics of a batch in order of appearance, and the way from each record to the next with its topic.
 *
 *      topics    a ──┐     b ──┐               records   0   1   2   3   4
 *      firstOf       0         1               of        a   b   a   a   b
 *                                              after     2   4   3   –   –
 */
export class BatchTopics {
  readonly names: readonly string[];
  readonly #count: number;
  /**
   * From `#at` on: `of` of each record, then `after` of each, then `firstOf` of each topic; none of them for a single topic.
   * Then hashes.
   */
  readonly #table: Int32Array;
  readonly #at: number;

  /** `BatchTopicsBuilder` makes them. */
  constructor(names: readonly string[], count: number, table: Int32Array, at: number) {
    this.names = names;
    this.#count = count;
    this.#table = table;
    this.#at = at;
  }

  /** Index of the topic's first record. */
  firstOf(number: number): number {
    return this.names.length === 1 ? 0 : this.#table[this.#at + this.#count * 2 + number]!;
  }

  /** Hash of the topic's name. */
  hashOf(number: number): number {
    const at = this.names.length === 1 ? 0 : this.#count * 2 + this.names.length + number;
    return this.#table[this.#at + at]!;
  }

  /** Number of the topic of a record. */
  of(index: number): number {
    return this.names.length === 1 ? 0 : this.#table[this.#at + index]!;
  }

  /** Index of the next record with the same topic, or −1. */
  after(index: number): number {
    if (this.names.length === 1) return index + 1 < this.#count ? index + 1 : -1;
    return this.#table[this.#at + this.#count + index]!;
  }
}

/** Collects the topics of a batch; used again for the next, so that a batch leaves little to the garbage collector. */
export class BatchTopicsBuilder {
  /** Distinct topics so far. */
  topicCount = 0;
  #count = 0;
  // what is beyond the counts is left from earlier batches
  readonly #names: string[] = [];
  #topicOf = new Int32Array(64);
  #after = new Int32Array(64);
  #firsts = new Int32Array(16);
  #lasts = new Int32Array(16);
  #hashes = new Int32Array(16);

  clear(): void {
    this.topicCount = 0;
    this.#count = 0;
  }

  /**
   * Takes the next record. `number` is that of its topic in this batch: `topicCount` says that it is new, and only then
   * the hash of its name is asked for. Hot.
   */
  add(number: number, topic: string, hash: number): void {
    const index = this.#count++;
    if (index === this.#topicOf.length) {
      this.#topicOf = doubled(this.#topicOf);
      this.#after = doubled(this.#after);
    }
    this.#topicOf[index] = number;
    this.#after[index] = -1;
    if (number === this.topicCount) {
      this.topicCount++;
      if (number === this.#firsts.length) {
        this.#firsts = doubled(this.#firsts);
        this.#lasts = doubled(this.#lasts);
        this.#hashes = doubled(this.#hashes);
      }
      this.#names[number] = topic;
      this.#firsts[number] = index;
      this.#hashes[number] = hash;
    } else this.#after[this.#lasts[number]!] = index;
    this.#lasts[number] = index;
  }

  /** Numbers that the table of the topics takes. */
  get tableLength(): number {
    return this.topicCount === 1 ? 1 : this.#count * 2 + this.topicCount * 2;
  }

  /** Who gives a table has room in it from `at` on, and keeps it as long as the topics are used. */
  finish(table: Int32Array = new Int32Array(this.tableLength), at = 0): BatchTopics {
    const names = this.#names.slice(0, this.topicCount);
    const count = this.#count;
    if (names.length === 1) table[at] = this.#hashes[0]!;
    else {
      copy(this.#topicOf, count, table, at);
      copy(this.#after, count, table, at + count);
      copy(this.#firsts, names.length, table, at + count * 2);
      copy(this.#hashes, names.length, table, at + count * 2 + names.length);
    }
    return new BatchTopics(names, count, table, at);
  }
}

/** A copy with room for as many more. */
export function doubled(array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(array.length * 2);
  larger.set(array);
  return larger;
}

/** For the few a batch mostly has, a loop is faster than a view of them. */
function copy(from: Int32Array, count: number, to: Int32Array, at: number): void {
  if (count > 64) to.set(from.subarray(0, count), at);
  else for (let i = 0; i < count; i++) to[at + i] = from[i]!;
}
