import type { RecordBatch } from './record-batch.ts';
import type { TopicHash } from './topic-hash.ts';

/** Entries are counted from 0 again before a number of 31 bits is used up. */
const entriesMax = 2 ** 30;

/** What is known of an entry, each a number of the table: those of one entry lie together, where one look fetches all. */
const shift = 3;
const serialAt = 0;
const numberAt = 1;
const hashAt = 2;
const supersededAt = 3;
const beforeAt = 4;
const jumpAt = 5;
const depthAt = 6;
const nextAt = 7;

/**
 * The way from a topic to its records in memory. Each batch has one entry for each of its topics, in a table: an object and
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
  /** Of the newest batch. */
  #serial = 0;
  #table = new Table(32);

  /** `batchOf`: the batch that has this serial number. */
  constructor(hash: TopicHash, batchOf: (serial: number) => RecordBatch) {
    this.#hash = hash;
    this.#batchOf = batchOf;
  }

  /** Takes the topics of the newest batch. Hot. */
  push(batch: RecordBatch, serial: number): void {
    const { topics } = batch;
    const { length } = topics.names;
    if (this.#end - this.#first + length > this.#table.capacity || this.#end + length > entriesMax)
      this.#makeRoom(length);
    this.#serial = serial;
    for (let number = 0; number < length; number++)
      this.#add(serial, number, topics.hashOf(number), topics.names[number]!);
  }

  /** The batch with this serial number is gone, and all before. */
  drop(serial: number): void {
    const { entries, mask } = this.#table;
    for (; this.#first < this.#end; this.#first++) {
      const at = (this.#first & mask) << shift;
      if (this.#serialOf(entries[at + serialAt]!) > serial) return;
      if (entries[at + supersededAt] === 0 && entries[at + numberAt] !== none) this.size--;
    }
  }

  /** The newest entry of a topic, or −1. */
  newest(topic: string): number {
    return this.#find(this.#hash.of(topic), topic);
  }

  /** The entry of the same topic in the last batch before, or −1. */
  before(entry: number): number {
    return this.#live(this.#get(entry, beforeAt));
  }

  /** The entry of the topic in the first batch that ends above `offset`; `newest` must end above it. */
  firstAbove(newest: number, offset: number): number {
    for (let entry = newest; ; ) {
      let older = this.#live(this.#get(entry, jumpAt));
      if (older === none || this.batch(older).last <= offset) older = this.#live(this.#get(entry, beforeAt));
      if (older === none || this.batch(older).last <= offset) return entry;
      entry = older;
    }
  }

  batch(entry: number): RecordBatch {
    return this.#batchOf(this.#serialOf(this.#get(entry, serialAt)));
  }

  /** Index in its batch of the topic's first record. */
  recordOf(entry: number): number {
    return this.batch(entry).topics.firstOf(this.#get(entry, numberAt));
  }

  *names(): Generator<string> {
    for (let entry = this.#first; entry < this.#end; entry++) {
      const number = this.#get(entry, numberAt);
      if (number !== none && this.#get(entry, supersededAt) === 0) yield this.batch(entry).topics.names[number]!;
    }
  }

  /** Others take the place of some batches, without some of the records, or nothing does: then those behind move up. */
  replace(replaced: ReadonlyMap<RecordBatch, RecordBatch | undefined>): void {
    const { entries, mask } = this.#table;
    let emptied = 0;
    for (let entry = this.#first; entry < this.#end; ) {
      const low = this.#get(entry, serialAt);
      const batch = this.batch(entry);
      const touched = replaced.has(batch);
      const left = replaced.get(batch);
      const numberOf = left && new Map(left.topics.names.map((name, number) => [name, number]));
      for (; entry < this.#end && this.#get(entry, serialAt) === low; entry++) {
        entries[((entry & mask) << shift) + serialAt] = low - emptied;
        const number = this.#get(entry, numberAt);
        if (touched && number !== none) this.#renumber(entry, numberOf?.get(batch.topics.names[number]!) ?? none);
      }
      if (touched && left === undefined) emptied++;
    }
    this.#serial -= emptied;
  }

  #renumber(entry: number, number: number): void {
    const { entries, mask } = this.#table;
    entries[((entry & mask) << shift) + numberAt] = number;
    if (number === none && this.#get(entry, supersededAt) === 0) this.size--;
  }

  #get(entry: number, what: number): number {
    const { entries, mask } = this.#table;
    return entries[((entry & mask) << shift) + what]!;
  }

  /** The table has the low 32 bits of it: a busy log has 2^31 batches in three days, and no memory holds as many. */
  #serialOf(low: number): number {
    return this.#serial + ((low - this.#serial) | 0);
  }

  /** Hot. */
  #add(serial: number, number: number, hash: number, topic: string): void {
    const { entries, slots, mask } = this.#table;
    const slot = hash & (slots.length - 1);
    // what the topic's newest entry up to now hangs on
    let link = none;
    let older = slots[slot]!;
    while (older >= this.#first && !this.#is(older, hash, topic)) {
      link = older;
      older = entries[((older & mask) << shift) + nextAt]!;
    }
    const entry = this.#end++;
    const at = (entry & mask) << shift;
    entries[at + serialAt] = serial;
    entries[at + numberAt] = number;
    entries[at + hashAt] = hash;
    entries[at + supersededAt] = 0;
    if (older < this.#first) {
      this.size++;
      entries[at + beforeAt] = none;
      entries[at + jumpAt] = none;
      entries[at + depthAt] = 0;
    } else {
      const was = (older & mask) << shift;
      entries[was + supersededAt] = 1;
      if (link === none) slots[slot] = entries[was + nextAt]!;
      else entries[((link & mask) << shift) + nextAt] = entries[was + nextAt]!;
      entries[at + beforeAt] = older;
      const depth = entries[was + depthAt]! + 1;
      entries[at + jumpAt] = this.#jumpOver(older, depth);
      entries[at + depthAt] = depth;
    }
    entries[at + nextAt] = slots[slot]!;
    slots[slot] = entry;
  }

  /** Where the entry after `older` jumps to: as far as the two jumps before it together, when those are equally far. */
  #jumpOver(older: number, depth: number): number {
    if (!leaps(depth)) return older;
    const one = this.#get(older, jumpAt);
    if (one < this.#first) return older;
    const two = this.#get(one, jumpAt);
    return two < this.#first ? older : two;
  }

  #find(hash: number, topic: string): number {
    const { slots } = this.#table;
    let entry = slots[hash & (slots.length - 1)]!;
    while (entry >= this.#first && !this.#is(entry, hash, topic)) entry = this.#get(entry, nextAt);
    return entry >= this.#first ? entry : none;
  }

  /** Hot. */
  #is(entry: number, hash: number, topic: string): boolean {
    if (this.#get(entry, hashAt) !== hash) return false;
    const number = this.#get(entry, numberAt);
    return number !== none && this.batch(entry).topics.names[number] === topic;
  }

  /** The entry, or −1 when it is dropped or none of its records are left; then none before it are either. */
  #live(entry: number): number {
    return entry >= this.#first && this.#get(entry, numberAt) !== none ? entry : none;
  }

  /** Moves all that is there, so that entries are counted from 0 again. */
  #makeRoom(more: number): void {
    const from = this.#table;
    const first = this.#first;
    const count = this.#end - first;
    let { capacity } = from;
    while (capacity < count + more) capacity *= 2;
    const to = new Table(capacity);
    for (let entry = 0; entry < count; entry++) {
      const was = ((first + entry) & from.mask) << shift;
      const at = entry << shift;
      for (let what = serialAt; what <= depthAt; what++) to.entries[at + what] = from.entries[was + what]!;
      to.entries[at + beforeAt] = Math.max(from.entries[was + beforeAt]! - first, none);
      to.entries[at + jumpAt] = Math.max(from.entries[was + jumpAt]! - first, none);
      if (to.entries[at + supersededAt] === 1) continue;
      const slot = to.entries[at + hashAt]! & (to.slots.length - 1);
      to.entries[at + nextAt] = to.slots[slot]!;
      to.slots[slot] = entry;
    }
    this.#table = to;
    this.#first = 0;
    this.#end = count;
  }
}

const none = -1;

/**
 * Whether the two jumps before an entry of this depth are equally far, without a look at them, which are anywhere in memory:
 * the lengths of jumps are 1, 1, 3, 1, 1, 3, 7, 1, 1, 3, … whatever the topic. Where the oldest entries are gone jumps are
 * shorter than that, and lead to an older entry all the same.
 */
function leaps(depth: number): boolean {
  // a topic of every batch is deeper than 31 bits after some days
  for (let rest = depth & 0x3fffffff; ; ) {
    const jump = (1 << (31 - Math.clz32(rest + 1))) - 1;
    if (jump === rest) return jump > 1;
    rest -= jump;
  }
}

/** The entries, in a ring. */
class Table {
  readonly capacity: number;
  readonly mask: number;
  readonly entries: Int32Array;
  /** The newest entry by hash; twice as many as entries, so that most new topics find a slot of their own. */
  readonly slots: Int32Array;

  /** `capacity`: a power of two. */
  constructor(capacity: number) {
    this.capacity = capacity;
    this.mask = capacity - 1;
    this.entries = new Int32Array(capacity << shift);
    this.slots = new Int32Array(capacity * 2).fill(none);
  }
}
