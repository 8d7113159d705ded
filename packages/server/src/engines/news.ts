import type { Clock } from '../log/clock.ts';

const again = 60_000;
const most = 100;

/** The same trouble again is no news: while it lasts it is told once a minute. */
export class News {
  readonly #clock: Clock;
  readonly #told = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether this is to be told; then it is not for a minute. */
  take(text: string): boolean {
    const now = this.#clock.monotonic();
    if (now - (this.#told.get(text) ?? Number.NEGATIVE_INFINITY) < again) return false;
    if (this.#told.size >= most) this.#told.clear();
    this.#told.set(text, now);
    return true;
  }
}
