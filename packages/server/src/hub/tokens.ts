import { cursorPrefix, cursorSuffix, formatCursor } from '@tailrace/protocol';
import type { Log } from '../log/index.ts';

/** Cursor tokens of one log. The half that names log and epoch is kept, since nearly all tokens share it. */
export class Tokens {
  readonly #log: Log;
  #prefix = '';
  // offsets in [#from, #to) belong to the epoch of #prefix
  #from = 1;
  #to = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** The token of the position `offset`, whose newest record has the time `time` (ms). */
  of(offset: number, time: number): string {
    if (offset < this.#from || offset >= this.#to) this.#aim(offset);
    return this.#prefix + cursorSuffix(offset, time);
  }

  /** The same in the middle of a snapshot as of `to`, for who reads it by requests of their own. */
  within(offset: number, time: number, to: number): string {
    return formatCursor({ log: this.#log.id, epoch: this.#log.epochOf(to), offset, time, snapshot: to });
  }

  /** The same for who polls and was told of what is dropped up to `told`. */
  behindGap(offset: number, time: number, told: number): string {
    return `${this.of(offset, time)}.t${told}`;
  }

  /** The log has gone back, or on in another epoch: offsets may be of other epochs than it said. */
  forget(): void {
    this.#from = 1;
    this.#to = 0;
  }

  #aim(offset: number): void {
    const epoch = this.#log.epochOf(offset);
    this.#prefix = cursorPrefix(this.#log.id, epoch);
    this.#from = offset;
    const end = this.#log.endOf(epoch);
    // not the head's own epoch: until the first append after a start the head is still of an earlier one
    const running = this.#log.epochOf(this.#log.head.offset + 1) === epoch;
    this.#to = running ? Number.POSITIVE_INFINITY : (end ?? offset) + 1;
  }
}
