import type { Clock } from './clock.ts';

/** What time it is on a clock that was right when it began and does not step: ages are measured with it. */
export class SteadyClock {
  readonly #clock: Clock;
  /** Wall time less monotonic time at the beginning. */
  readonly #ahead: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#ahead = clock.now() - clock.monotonic();
  }

  /** ms since 1970 UTC, with fractions. */
  now(): number {
    return this.#ahead + this.#clock.monotonic();
  }
}
