import type { Clock } from '../../src/log/clock.ts';

interface Timer {
  at: number;
  readonly interval: number | undefined;
  readonly task: () => void;
}

/** Time that moves only when told. `soon` is a real turn of the event loop: I/O in tests is real. */
export class ManualClock implements Clock {
  wall = 1_700_000_000_000;
  #monotonic = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.wall;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  every(intervalMs: number, task: () => void): () => void {
    return this.#add({ at: this.#monotonic + intervalMs, interval: intervalMs, task });
  }

  after(delayMs: number, task: () => void): () => void {
    return this.#add({ at: this.#monotonic + delayMs, interval: undefined, task });
  }

  soon(task: () => void): void {
    setImmediate(task);
  }

  /** Moves both clocks on and runs what is due, in order. */
  advance(ms: number): void {
    const end = this.#monotonic + ms;
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers) if (timer.at <= end && (next === undefined || timer.at < next.at)) next = timer;
      if (next === undefined) break;
      this.wall += next.at - this.#monotonic;
      this.#monotonic = next.at;
      if (next.interval === undefined) this.#timers.delete(next);
      else next.at += next.interval;
      next.task();
    }
    this.wall += end - this.#monotonic;
    this.#monotonic = end;
  }

  get timers(): number {
    return this.#timers.size;
  }

  #add(timer: Timer): () => void {
    this.#timers.add(timer);
    return () => {
      this.#timers.delete(timer);
    };
  }
}
