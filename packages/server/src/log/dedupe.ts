import type { Message } from '@tailrace/protocol';
import type { DedupeOptions } from './options.ts';
import { logDefaults } from './options.ts';

/** Sequences below the highest of a producer that are still told apart (protocol.md §1). */
export const producerWindow = 1024;

/** What `find` answers besides an offset. */
export const unseen = 0;
export const tooOld = -1;

type DedupeKeys = Pick<Message, 'topic' | 'id' | 'by' | 'producer' | 'sequence'>;

/**
 * Recognises publishes that were made before: ids by topic, sequences by producer. Holds records that wait for their
 * commit too, so that a retry finds them; `rollback` takes those back that never made it.
 */
export class Dedupe {
  readonly #ids: IdWindow;
  readonly #producers: Producers;
  /** Time of the record that `find` found. */
  foundTime = 0;

  constructor(options: DedupeOptions = {}) {
    const { ids, ageMs, limit, producers } = logDefaults.dedupe;
    const keep = options.ids ?? ids;
    this.#ids = new IdWindow(keep, options.ageMs ?? ageMs, Math.max(keep, options.limit ?? limit));
    this.#producers = new Producers(options.producers ?? producers);
  }

  get idCount(): number {
    return this.#ids.size;
  }

  get producerCount(): number {
    return this.#producers.size;
  }

  /** Ids and producers forgotten for want of room before their time. */
  get cutShort(): number {
    return this.#ids.cutShort + this.#producers.cutShort;
  }

  /** Offset of the record that this message repeats, `unseen` or `tooOld`. Hot. */
  find(message: DedupeKeys): number {
    if (message.id !== undefined) {
      const slot = this.#ids.find(message.topic, message.id);
      if (slot !== undefined) {
        this.foundTime = slot.time;
        return slot.offset;
      }
    }
    if (message.producer === undefined) return unseen;
    const offset = this.#producers.find(message.by, message.producer, message.sequence!);
    this.foundTime = this.#producers.foundTime;
    return offset;
  }

  /** Takes the message of a new record. Offsets ascend, except that a producer's order is its own. Hot. */
  add(message: DedupeKeys, offset: number, time: number): void {
    if (message.id !== undefined) this.#ids.add(message.topic, message.id, offset, time);
    if (message.producer !== undefined)
      this.#producers.add(message.by, message.producer, message.sequence!, offset, time);
  }

  /** Forgets everything above `head`: it was not appended after all. */
  rollback(head: number): void {
    this.#ids.rollback(head);
    this.#producers.rollback(head);
  }
}

class IdEntry {
  readonly key: string;
  readonly offset: number;
  readonly time: number;

  constructor(key: string, offset: number, time: number) {
    this.key = key;
    this.offset = offset;
    this.time = time;
  }
}

/** The newest ids in order of offset: the last `keep`, and those younger than `ageMs` up to `limit`. */
class IdWindow {
  cutShort = 0;
  readonly #keep: number;
  readonly #ageMs: number;
  readonly #limit: number;
  readonly #byKey = new Map<string, IdEntry>();
  // a queue beside the Map: taking the first key of a Map walks over all that were deleted before it
  #queue: IdEntry[] = [];
  #first = 0;

  constructor(keep: number, ageMs: number, limit: number) {
    this.#keep = keep;
    this.#ageMs = ageMs;
    this.#limit = limit;
  }

  get size(): number {
    return this.#queue.length - this.#first;
  }

  find(topic: string, id: string): IdEntry | undefined {
    return this.#byKey.size === 0 ? undefined : this.#byKey.get(idKey(topic, id));
  }

  add(topic: string, id: string, offset: number, time: number): void {
    const entry = new IdEntry(idKey(topic, id), offset, time);
    this.#byKey.set(entry.key, entry);
    this.#queue.push(entry);
    while (this.size > this.#keep) {
      const young = time - this.#queue[this.#first]!.time < this.#ageMs;
      if (young && this.size <= this.#limit) break;
      if (young) this.cutShort++;
      this.#dropFirst();
    }
  }

  rollback(head: number): void {
    while (this.size > 0 && this.#queue[this.#queue.length - 1]!.offset > head) this.#forget(this.#queue.pop()!);
  }

  #dropFirst(): void {
    this.#forget(this.#queue[this.#first]!);
    this.#queue[this.#first] = undefined as never;
    this.#first++;
    if (this.#first > 4096 && this.#first * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#first);
      this.#first = 0;
    }
  }

  #forget(entry: IdEntry): void {
    // a damaged or foreign log may hold an id twice: the newer entry stays
    if (this.#byKey.get(entry.key) === entry) this.#byKey.delete(entry.key);
  }
}

/** A space cannot stand for "no space": topics may hold spaces, but neither holds a line feed. */
function idKey(topic: string, id: string): string {
  return `${id}\n${topic}`;
}

/** Producers in order of their last use. */
class Producers {
  cutShort = 0;
  foundTime = 0;
  readonly #limit: number;
  readonly #byKey = new Map<string, Producer>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#byKey.size;
  }

  find(by: string | undefined, name: string, sequence: number): number {
    const producer = this.#byKey.get(producerKey(by, name));
    if (producer === undefined) return unseen;
    const offset = producer.find(sequence);
    this.foundTime = producer.foundTime;
    return offset;
  }

  add(by: string | undefined, name: string, sequence: number, offset: number, time: number): void {
    const key = producerKey(by, name);
    let producer = this.#byKey.get(key);
    if (producer === undefined) {
      producer = new Producer();
      this.#byKey.set(key, producer);
      if (this.#byKey.size > this.#limit) this.#dropLeastUsed();
    }
    producer.add(sequence, offset, time);
  }

  rollback(head: number): void {
    for (const [key, producer] of this.#byKey) if (producer.rollback(head)) this.#byKey.delete(key);
  }

  /** Drops a sixteenth at once, so that finding the least used costs little per producer. */
  #dropLeastUsed(): void {
    const byUse = [...this.#byKey].sort(([, a], [, b]) => a.lastOffset - b.lastOffset);
    for (const [key] of byUse.slice(0, Math.max(1, this.#limit >>> 4))) {
      this.#byKey.delete(key);
      this.cutShort++;
    }
  }
}

/** Parts are joined by a character that neither can hold. */
function producerKey(by: string | undefined, name: string): string {
  return by === undefined ? name : `${name}\n${by}`;
}

/**
 * What one producer sent: its highest sequence, and for each of the 1,024 below it the record's offset and time, or 0.
 * The table starts small and doubles when something seen would fall out of it: most producers never need all of it.
 *
 *      highest - 1024 ............ highest - 1   highest
 *     └── slot = (sequence % slots) × 2: offset, time
 */
class Producer {
  foundTime = 0;
  lastOffset = 0;
  #highest = -1;
  #highestOffset = 0;
  #highestTime = 0;
  #slots = 16;
  #table = new Float64Array(this.#slots * 2);

  find(sequence: number): number {
    if (sequence > this.#highest) return unseen;
    if (sequence === this.#highest) {
      this.foundTime = this.#highestTime;
      return this.#highestOffset;
    }
    if (sequence < this.#highest - producerWindow) return tooOld;
    if (sequence < this.#highest - this.#slots) return unseen;
    const slot = (sequence % this.#slots) * 2;
    this.foundTime = this.#table[slot + 1]!;
    return this.#table[slot]!;
  }

  add(sequence: number, offset: number, time: number): void {
    this.lastOffset = Math.max(this.lastOffset, offset);
    if (sequence > this.#highest) {
      const before = this.#highest;
      this.#raise(sequence);
      if (before >= 0) this.#put(before, this.#highestOffset, this.#highestTime);
      this.#highestOffset = offset;
      this.#highestTime = time;
    } else if (sequence === this.#highest) {
      this.#highestOffset = offset;
      this.#highestTime = time;
    } else this.#put(sequence, offset, time);
  }

  /** True when nothing is left. */
  rollback(head: number): boolean {
    if (this.lastOffset <= head) return false;
    const kept: [number, number, number][] = [];
    for (let s = Math.max(0, this.#highest - this.#slots); s < this.#highest; s++) {
      const slot = (s % this.#slots) * 2;
      const offset = this.#table[slot]!;
      if (offset > 0 && offset <= head) kept.push([s, offset, this.#table[slot + 1]!]);
    }
    if (this.#highestOffset <= head) kept.push([this.#highest, this.#highestOffset, this.#highestTime]);
    this.#highest = -1;
    this.lastOffset = 0;
    this.#table.fill(0);
    for (const [sequence, offset, time] of kept) this.add(sequence, offset, time);
    return kept.length === 0;
  }

  /** Moves the window up; slots that leave it are cleared, and the table grows first when they are still within 1,024. */
  #raise(highest: number): void {
    while (this.#slots < producerWindow && this.#leavingSeen(highest)) this.#grow();
    const from = Math.max(0, this.#highest - this.#slots);
    const to = Math.min(this.#highest, highest - this.#slots);
    for (let s = from; s < to; s++) this.#table.fill(0, (s % this.#slots) * 2, (s % this.#slots) * 2 + 2);
    this.#highest = highest;
  }

  #leavingSeen(highest: number): boolean {
    if (this.#highest < 0) return false;
    const lowest = Math.max(0, highest - producerWindow);
    if (this.#highest >= lowest && this.#highest < highest - this.#slots) return true;
    for (let s = Math.max(lowest, this.#highest - this.#slots); s < Math.min(this.#highest, highest - this.#slots); s++)
      if (this.#table[(s % this.#slots) * 2]! > 0) return true;
    return false;
  }

  #put(sequence: number, offset: number, time: number): void {
    if (sequence < this.#highest - producerWindow) return;
    while (sequence < this.#highest - this.#slots) this.#grow();
    const slot = (sequence % this.#slots) * 2;
    this.#table[slot] = offset;
    this.#table[slot + 1] = time;
  }

  #grow(): void {
    const old = this.#table;
    const oldSlots = this.#slots;
    this.#slots = Math.min(producerWindow, oldSlots * 2);
    this.#table = new Float64Array(this.#slots * 2);
    for (let s = Math.max(0, this.#highest - oldSlots); s < this.#highest; s++) {
      const from = (s % oldSlots) * 2;
      const to = (s % this.#slots) * 2;
      this.#table[to] = old[from]!;
      this.#table[to + 1] = old[from + 1]!;
    }
  }
}
