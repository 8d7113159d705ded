import type { RecordBatch } from './record-batch.ts';
import type { TopicHash } from './topic-hash.ts';

/** Entries are counted from 0 again before a number of 31 bits is used up. */
const entriesMax = 2 ** 30;

/**
 * The way from a topic to its records in memory. Each batch has one entry for each of its topics, in columns: an object and
 * a name in a Map for each topic would keep the garbage collector busy.
 *
 *     slots by hash          entry   …  17  18  19  20 …        of the oldest batch … of the newest
 *     │ – │ 20 │ – │         serial     4   4   5   5           which batch it is in
 *           │                number     0   1   0   1           which of its topics
 *           │                before     9   –   17  –           the topic in the last batch before that has it
 *           ▼ next           next       –   –   –   19          the next topic of the same slot
 *
 * Entries die in the order they were made: whatever leads to one below the first leads nowhere, so that dropping a batch
 * costs nothing. `jump` leads over many entries of a topic at once (as in Myers' random-access stacks), so that any of them is
 * found in few steps.
 */
export class HotTopics {
  /** Topics with records. */
  size = 0;
  readonly #hash: TopicHash;
  readonly #batchOf: (serial: number) => RecordBatch;
  #first = 0;
  #end = 0;
  #columns = new Columns(32);

  /** `batchOf`: the batch that has this serial number. */
  constructor(hash: TopicHash, batchOf: (serial: number) => RecordBatch) {
    this.#hash = hash;
    this.#batchOf = batchOf;
  }

  /** Takes the topics of the newest batch. Hot. */
  push(batch: RecordBatch, serial: number): void {
    const { topics } = batch;
    const { length } = topics.names;
    if (this.#end - this.#first + length > this.#columns.capacity || this.#end + length > entriesMax)
      this.#makeRoom(length);
    for (let number = 0; number < length; number++)
      this.#add(serial, number, topics.hashOf(number), topics.names[number]!);
  }

  /** The batch with this serial number is gone, and all before. */
  drop(serial: number): void {
    const { serials, numbers, superseded, mask } = this.#columns;
    for (; this.#first < this.#end; this.#first++) {
      const at = this.#first & mask;
      if (serials[at]! > serial) return;
      if (superseded[at] === 0 && numbers[at] !== none) this.size--;
    }
  }

  /** The newest entry of a topic, or −1. */
  newest(topic: string): number {
    return this.#find(this.#hash.of(topic), topic);
  }

  /** The entry of the same topic in the last batch before, or −1. */
  before(entry: number): number {
    return this.#live(this.#columns.before[entry & this.#columns.mask]!);
  }

  /** The entry of the topic in the first batch that ends above `offset`; `newest` must end above it. */
  firstAbove(newest: number, offset: number): number {
    const { before, jump, mask } = this.#columns;
    for (let entry = newest; ; ) {
      let older = this.#live(jump[entry & mask]!);
      if (older === none || this.batch(older).last <= offset) older = this.#live(before[entry & mask]!);
      if (older === none || this.batch(older).last <= offset) return entry;
      entry = older;
    }
  }

  batch(entry: number): RecordBatch {
    return this.#batchOf(this.#columns.serials[entry & this.#columns.mask]!);
  }

  /** Index in its batch of the topic's first record. */
  recordOf(entry: number): number {
    return this.batch(entry).topics.firstOf(this.#columns.numbers[entry & this.#columns.mask]!);
  }

  *names(): Generator<string> {
    for (let entry = this.#first; entry < this.#end; entry++) {
      const { numbers, superseded, mask } = this.#columns;
      const number = numbers[entry & mask]!;
      if (number !== none && superseded[entry & mask] === 0) yield this.batch(entry).topics.names[number]!;
    }
  }

  /** Others take the place of some batches, without some of the records, or nothing does: then those behind move up. */
  replace(replaced: ReadonlyMap<RecordBatch, RecordBatch | undefined>): void {
    const { serials, numbers, mask } = this.#columns;
    let emptied = 0;
    for (let entry = this.#first; entry < this.#end; ) {
      const serial = serials[entry & mask]!;
      const batch = this.#batchOf(serial);
      const touched = replaced.has(batch);
      const left = replaced.get(batch);
      const numberOf = left && new Map(left.topics.names.map((name, number) => [name, number]));
      for (; entry < this.#end && serials[entry & mask] === serial; entry++) {
        serials[entry & mask] = serial - emptied;
        const number = numbers[entry & mask]!;
        if (touched && number !== none) this.#renumber(entry, numberOf?.get(batch.topics.names[number]!) ?? none);
      }
      if (touched && left === undefined) emptied++;
    }
  }

  #renumber(entry: number, number: number): void {
    const { numbers, superseded, mask } = this.#columns;
    numbers[entry & mask] = number;
    if (number === none && superseded[entry & mask] === 0) this.size--;
  }

  /** Hot. */
  #add(serial: number, number: number, hash: number, topic: string): void {
    const { serials, numbers, hashes, superseded, next, before, jump, depths, slots, mask } = this.#columns;
    const slot = hash & (slots.length - 1);
    // what the topic's newest entry up to now hangs on
    let link = none;
    let older = slots[slot]!;
    while (older >= this.#first && !this.#is(older, hash, topic)) {
      link = older;
      older = next[older & mask]!;
    }
    const entry = this.#end++;
    const at = entry & mask;
    serials[at] = serial;
    numbers[at] = number;
    hashes[at] = hash;
    superseded[at] = 0;
    if (older < this.#first) {
      this.size++;
      before[at] = none;
      jump[at] = none;
      depths[at] = 0;
    } else {
      const was = older & mask;
      superseded[was] = 1;
      if (link === none) slots[slot] = next[was]!;
      else next[link & mask] = next[was]!;
      before[at] = older;
      jump[at] = this.#jumpOver(older);
      depths[at] = depths[was]! + 1;
    }
    next[at] = slots[slot]!;
    slots[slot] = entry;
  }

  /** Where the entry after `older` may jump to: as far as the two jumps before it together, when they were equally far. */
  #jumpOver(older: number): number {
    const { jump, depths, mask } = this.#columns;
    const one = this.#live(jump[older & mask]!);
    if (one === none) return older;
    const two = this.#live(jump[one & mask]!);
    if (two === none) return older;
    const depth = depths[one & mask]!;
    return depths[older & mask]! - depth === depth - depths[two & mask]! ? two : older;
  }

  #find(hash: number, topic: string): number {
    const { slots, next, mask } = this.#columns;
    let entry = slots[hash & (slots.length - 1)]!;
    while (entry >= this.#first && !this.#is(entry, hash, topic)) entry = next[entry & mask]!;
    return entry >= this.#first ? entry : none;
  }

  /** Hot. */
  #is(entry: number, hash: number, topic: string): boolean {
    const { hashes, numbers, mask } = this.#columns;
    if (hashes[entry & mask] !== hash) return false;
    const number = numbers[entry & mask]!;
    return number !== none && this.batch(entry).topics.names[number] === topic;
  }

  /** The entry, or −1 when it is dropped or none of its records are left; then none before it are either. */
  #live(entry: number): number {
    return entry >= this.#first && this.#columns.numbers[entry & this.#columns.mask] !== none ? entry : none;
  }

  /** Moves all that is there, so that entries are counted from 0 again. */
  #makeRoom(more: number): void {
    const from = this.#columns;
    const first = this.#first;
    const count = this.#end - first;
    let { capacity } = from;
    while (capacity < count + more) capacity *= 2;
    const to = new Columns(capacity);
    for (let entry = 0; entry < count; entry++) {
      const was = (first + entry) & from.mask;
      to.serials[entry] = from.serials[was]!;
      to.numbers[entry] = from.numbers[was]!;
      to.hashes[entry] = from.hashes[was]!;
      to.superseded[entry] = from.superseded[was]!;
      to.depths[entry] = from.depths[was]!;
      to.before[entry] = Math.max(from.before[was]! - first, none);
      to.jump[entry] = Math.max(from.jump[was]! - first, none);
      if (to.superseded[entry] === 1) continue;
      const slot = to.hashes[entry]! & (to.slots.length - 1);
      to.next[entry] = to.slots[slot]!;
      to.slots[slot] = entry;
    }
    this.#columns = to;
    this.#first = 0;
    this.#end = count;
  }
}

const none = -1;

/** What is known of each entry, in a ring. */
class Columns {
  readonly capacity: number;
  readonly mask: number;
  /** Of 53 bits: a busy log has 2^31 batches in three days. */
  readonly serials: Float64Array;
  readonly numbers: Int32Array;
  readonly hashes: Int32Array;
  /** Whether the topic has a newer entry. */
  readonly superseded: Uint8Array;
  readonly before: Int32Array;
  readonly jump: Int32Array;
  /** How many entries of the topic came before. */
  readonly depths: Int32Array;
  readonly next: Int32Array;
  /** The newest entry by hash; twice as many as entries, so that most new topics find a slot of their own. */
  readonly slots: Int32Array;

  /** `capacity`: a power of two. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.mask = capacity - 1;
    this.serials = new Float64Array(capacity);
    this.numbers = new Int32Array(capacity);
    this.hashes = new Int32Array(capacity);
    this.superseded = new Uint8Array(capacity);
    this.before = new Int32Array(capacity);
    this.jump = new Int32Array(capacity);
    this.depths = new Int32Array(capacity);
    this.next = new Int32Array(capacity);
    this.slots = new Int32Array(capacity * 2).fill(none);
  }
}
