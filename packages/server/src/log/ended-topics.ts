/**
 * Topics that were ended for good, with the offset of the record that did it. Held in order of offset, so that retention
 * forgets an end together with its record, and bounded: beyond `limit` the oldest end is forgotten.
 */
export class EndedTopics {
  readonly limit: number;
  /** Ends forgotten for want of room. */
  cutShort = 0;
  readonly #offsets = new Map<string, number>();

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.#offsets.size;
  }

  /** Offset of the record that ended the topic, or 0. Hot. */
  endOf(topic: string): number {
    return this.#offsets.size === 0 ? 0 : (this.#offsets.get(topic) ?? 0);
  }

  /** Offsets must come in ascending order. */
  add(topic: string, offset: number): void {
    this.#offsets.set(topic, offset);
    if (this.#offsets.size <= this.limit) return;
    for (const oldest of this.#offsets.keys()) {
      this.#offsets.delete(oldest);
      this.cutShort++;
      break;
    }
  }

  /** Takes ends from before all that are known, in ascending order. */
  addOlder(ends: readonly (readonly [topic: string, offset: number])[]): void {
    const newer = [...this.#offsets];
    this.#offsets.clear();
    for (const [topic, offset] of ends.slice(Math.max(0, ends.length + newer.length - this.limit)))
      this.add(topic, offset);
    for (const [topic, offset] of newer) {
      this.#offsets.delete(topic);
      this.add(topic, offset);
    }
  }

  /** Forgets ends that were never committed. */
  rollback(head: number): void {
    // only the newest can be above the head, but a Map cannot be walked backwards; a rollback is rare
    for (const [topic, offset] of this.#offsets) if (offset > head) this.#offsets.delete(topic);
  }

  clear(): void {
    this.#offsets.clear();
  }

  /** Forgets the end of a topic if its offset is ≤ `upTo`. */
  forget(topic: string, upTo: number): void {
    if ((this.#offsets.get(topic) ?? Number.POSITIVE_INFINITY) <= upTo) this.#offsets.delete(topic);
  }

  /** Forgets ends whose record is gone. */
  trim(floor: number): void {
    for (const [topic, offset] of this.#offsets) {
      if (offset > floor) return;
      this.#offsets.delete(topic);
    }
  }
}
