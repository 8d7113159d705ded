/** What `find` answers besides an offset. */
export const unseen = 0;
export const tooOld = -1;

/** Sequences below the highest of a producer that are still told apart (protocol.md §1). */
export const producerWindow = 1024;

/** A record of a producer. */
export interface ProducerEntry {
  readonly sequence: number;
  readonly offset: number;
  readonly time: number;
}

/**
 * What one producer sent: its highest sequence, and for each of the 1,024 below it the record's offset and time, or 0.
 * The table starts small and doubles when something seen would fall out of it: most producers never need all of it. What
 * waits for its commit is beside it, since a rollback could not bring back what it pushed out.
 *
 *      highest - 1024 ............ highest - 1   highest
 *     └── slot = (sequence % slots) × 2: offset, time
 */
export class Producer {
  foundTime = 0;
  /** Of its newest committed record; 0 while there is none. */
  lastOffset = 0;
  #highest = -1;
  #highestOffset = 0;
  #highestTime = 0;
  #slots = 16;
  #table = new Float64Array(this.#slots * 2);
  readonly #onTheWay = new Map<number, ProducerEntry>();
  /** Highest of all, committed or not. */
  #newest = -1;

  /** Nothing is remembered and nothing is on its way. */
  get empty(): boolean {
    return this.lastOffset === 0 && this.#onTheWay.size === 0;
  }

  find(sequence: number): number {
    if (sequence > this.#newest) return unseen;
    if (sequence < this.#newest - producerWindow) return tooOld;
    const waiting = this.#onTheWay.get(sequence);
    if (waiting !== undefined) {
      this.foundTime = waiting.time;
      return waiting.offset;
    }
    if (sequence === this.#highest) {
      this.foundTime = this.#highestTime;
      return this.#highestOffset;
    }
    if (sequence > this.#highest || sequence < this.#highest - this.#slots) return unseen;
    const slot = (sequence % this.#slots) * 2;
    this.foundTime = this.#table[slot + 1]!;
    return this.#table[slot]!;
  }

  add(entry: ProducerEntry): void {
    this.#onTheWay.set(entry.sequence, entry);
    if (entry.sequence > this.#newest) this.#newest = entry.sequence;
  }

  commit(entry: ProducerEntry): void {
    if (this.#onTheWay.get(entry.sequence) === entry) this.#onTheWay.delete(entry.sequence);
    this.#take(entry);
  }

  rollback(entry: ProducerEntry): void {
    this.#onTheWay.delete(entry.sequence);
    if (entry.sequence >= this.#newest) this.#findNewest();
  }

  /** What is committed, its highest sequence last. */
  entries(): ProducerEntry[] {
    const entries: ProducerEntry[] = [];
    for (let s = Math.max(0, this.#highest - this.#slots); s < this.#highest; s++) {
      const slot = (s % this.#slots) * 2;
      if (this.#table[slot]! > 0)
        entries.push({ sequence: s, offset: this.#table[slot]!, time: this.#table[slot + 1]! });
    }
    if (this.#highest >= 0)
      entries.push({ sequence: this.#highest, offset: this.#highestOffset, time: this.#highestTime });
    return entries;
  }

  restore(entries: readonly ProducerEntry[], lastOffset: number): void {
    for (const entry of entries) this.#take(entry);
    this.#newest = this.#highest;
    this.lastOffset = lastOffset;
  }

  /** Forgets what is committed. */
  forget(): void {
    this.lastOffset = 0;
    this.#highest = -1;
    this.#table.fill(0);
    this.#findNewest();
  }

  #findNewest(): void {
    this.#newest = this.#highest;
    for (const sequence of this.#onTheWay.keys()) if (sequence > this.#newest) this.#newest = sequence;
  }

  #take({ sequence, offset, time }: ProducerEntry): void {
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
