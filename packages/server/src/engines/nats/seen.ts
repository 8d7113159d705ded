/** Of so many entries something is remembered, from the newest back to ever older ones. */
const marksMost = 64;

interface Mark {
  readonly offset: number;
  /** When the server stored the entry, ns since 1970 as far as a number holds them: no two entries of an offset share it. */
  readonly stored: number;
}

/** What this node has seen of a stream: enough to tell whether it still is the stream that it was. */
export class Seen {
  /** Of the stream, empty before any. */
  id = '';
  /** Newest offset, and the epoch in which it was. */
  offset = 0;
  epoch = 0;
  /** Oldest first. */
  #marks: Mark[] = [];

  get newest(): Mark | undefined {
    return this.#marks.at(-1);
  }

  add(offset: number, stored: number): void {
    this.reached(offset);
    if (offset <= (this.newest?.offset ?? 0)) return;
    this.#marks.push({ offset, stored });
    // every second of the older half goes
    if (this.#marks.length > marksMost) this.#marks = this.#marks.filter((_, i) => i >= marksMost / 2 || i % 2 === 0);
  }

  /** An entry is there that was not read yet. */
  reached(offset: number): void {
    if (offset > this.offset) this.offset = offset;
  }

  /** What lies beyond `offset` is of another stream. */
  goBack(offset: number): void {
    this.offset = Math.min(this.offset, offset);
    this.#marks = this.#marks.filter(mark => mark.offset <= offset);
  }

  /** The newest mark that `holds`, from which on nothing is the same for sure. */
  async newestThat(holds: (mark: Mark) => Promise<boolean>): Promise<number> {
    for (const mark of this.#marks.toReversed()) if (await holds(mark)) return mark.offset;
    return 0;
  }
}

/** `2026-11-22T02:18:43.459261366Z` as ns since 1970, as far as a number holds them. */
export function nanosecondsOf(timestamp: string): number {
  const [, seconds, fraction = ''] = /^([^.Z]+)(?:\.(\d+))?Z$/.exec(timestamp) ?? [];
  return Number(`${Date.parse(`${seconds}Z`) / 1000}${fraction.padEnd(9, '0')}`);
}
