/** Of so many entries something is remembered, from the newest back to ever older ones. */
const marksMost = 64;

export interface Mark {
  readonly offset: number;
  /** When the server stored the entry, ns since 1970 as far as a number holds them: no two entries of an offset share it. */
  readonly stored: number;
}

/** What this node had seen at a moment. */
export interface Moment {
  /** Of the stream, empty before any. */
  readonly id: string;
  readonly epoch: number;
  /** The newest. */
  readonly offset: number;
  /** Oldest first. */
  readonly marks: readonly Mark[];
}

/** What this node has seen of a stream: enough to tell whether it still is the stream that it was. */
export class Seen {
  id = '';
  epoch = 0;
  offset = 0;
  #marks: Mark[] = [];

  get now(): Moment {
    return { id: this.id, epoch: this.epoch, offset: this.offset, marks: [...this.#marks] };
  }

  /** Of the same stream and epoch: then more may have been seen since, and nothing else. */
  isSameAs({ id, epoch }: Moment): boolean {
    return id === this.id && epoch === this.epoch;
  }

  add(offset: number, stored: number): void {
    this.reached(offset);
    if (offset <= (this.#marks.at(-1)?.offset ?? 0)) return;
    this.#marks.push({ offset, stored });
    // every second of the older half goes
    if (this.#marks.length > marksMost) this.#marks = this.#marks.filter((_, i) => i >= marksMost / 2 || i % 2 === 0);
  }

  /** An entry is there that was not read yet. */
  reached(offset: number): void {
    if (offset > this.offset) this.offset = offset;
  }

  /** What lies beyond `offset` is not what it was. */
  goBack(offset: number): void {
    this.offset = Math.min(this.offset, offset);
    this.#marks = this.#marks.filter(mark => mark.offset <= offset);
  }
}

/** `2026-11-22T02:18:43.459261366Z` as ns since 1970, as far as a number holds them. */
export function nanosecondsOf(timestamp: string): number {
  const [, seconds, fraction = ''] = /^([^.Z]+)(?:\.(\d+))?Z$/.exec(timestamp) ?? [];
  return Number(`${Date.parse(`${seconds}Z`) / 1000}${fraction.padEnd(9, '0')}`);
}
