import type { Clock } from '../log/index.ts';

/** Something that gives up when its time is over. */
export interface Expiring {
  /** No longer waiting: nothing to expire. */
  readonly settled: boolean;
  expire(): void;
}

/**
 * One deadline, the same for all that wait: those that came first expire first, so one queue and one beat serve any
 * number of them (I8).
 */
export class Deadlines {
  readonly #clock: Clock;
  readonly #ms: number;
  #waiting: { at: number; item: Expiring }[] = [];
  #first = 0;

  constructor(clock: Clock, ms: number) {
    this.#clock = clock;
    this.#ms = ms;
  }

  get size(): number {
    return this.#waiting.length - this.#first;
  }

  add(item: Expiring): void {
    this.#waiting.push({ at: this.#clock.monotonic() + this.#ms, item });
  }

  /** Expires what is over time and forgets what is settled. Called by the beat. */
  sweep(): void {
    const now = this.#clock.monotonic();
    while (this.#first < this.#waiting.length) {
      const { at, item } = this.#waiting[this.#first]!;
      if (!item.settled) {
        if (at > now) break;
        item.expire();
      }
      this.#waiting[this.#first++] = undefined as never;
    }
    if (this.#first === this.#waiting.length || this.#first > 4096) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
  }
}
