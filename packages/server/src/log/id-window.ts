/** One id of a topic. It never changes, so that a state of the window is a copy of its list. */
export class IdEntry {
  readonly key: string;
  readonly offset: number;
  readonly time: number;

  constructor(key: string, offset: number, time: number) {
    this.key = key;
    this.offset = offset;
    this.time = time;
  }
}

/**
 * The newest ids in order of offset: the last `keep`, and those younger than `ageMs` up to `limit`. Behind them are the
 * ids that wait for their commit, which do not count yet.
 *
 *      #first            #committed
 *   ───┬─────────────────┬─────────────┐
 *      │ remembered      │ on the way  │
 *   ───┴─────────────────┴─────────────┘
 */
export class IdWindow {
  cutShort = 0;
  readonly #keep: number;
  readonly #ageMs: number;
  readonly #limit: number;
  readonly #byKey = new Map<string, IdEntry>();
  // a queue beside the Map: taking the first key of a Map walks over all that were deleted before it
  #queue: IdEntry[] = [];
  #first = 0;
  #committed = 0;

  constructor(keep: number, ageMs: number, limit: number) {
    this.#keep = keep;
    this.#ageMs = ageMs;
    this.#limit = limit;
  }

  get size(): number {
    return this.#committed - this.#first;
  }

  find(topic: string, id: string): IdEntry | undefined {
    return this.#byKey.size === 0 ? undefined : this.#byKey.get(idKey(topic, id));
  }

  add(topic: string, id: string, offset: number, time: number): void {
    this.#push(new IdEntry(idKey(topic, id), offset, time));
  }

  commit(head: number): void {
    for (; this.#committed < this.#queue.length; ) {
      const { offset, time } = this.#queue[this.#committed]!;
      if (offset > head) return;
      this.#committed++;
      while (this.size > this.#keep) {
        const young = time - this.#queue[this.#first]!.time < this.#ageMs;
        if (young && this.size <= this.#limit) break;
        if (young) this.cutShort++;
        this.#dropFirst();
      }
    }
  }

  rollback(head: number): void {
    while (this.#queue.length > this.#committed && this.#queue[this.#queue.length - 1]!.offset > head)
      this.#forget(this.#queue.pop()!);
  }

  /** Forgets the ids of a topic with offset ≤ `upTo`, which are committed. */
  forget(topic: string, upTo: number): void {
    const of = idKey(topic, '');
    const queue: IdEntry[] = [];
    let committed = 0;
    for (let i = this.#first; i < this.#queue.length; i++) {
      const entry = this.#queue[i]!;
      if (entry.offset <= upTo && entry.key.endsWith(of)) this.#forget(entry);
      else queue.push(entry);
      if (i < this.#committed) committed = queue.length;
    }
    this.#queue = queue;
    this.#first = 0;
    this.#committed = committed;
  }

  state(): readonly IdEntry[] {
    return this.#queue.slice(this.#first, this.#committed);
  }

  restore(key: string, offset: number, time: number): void {
    this.#push(new IdEntry(key, offset, time));
  }

  #push(entry: IdEntry): void {
    this.#byKey.set(entry.key, entry);
    this.#queue.push(entry);
  }

  #dropFirst(): void {
    this.#forget(this.#queue[this.#first]!);
    this.#queue[this.#first] = undefined as never;
    this.#first++;
    if (this.#first > 4096 && this.#first * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#first);
      this.#committed -= this.#first;
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
