import type { Clock } from '../log/index.ts';

/** A piece of delivery work that can stop after any write and go on later. */
export interface Job {
  /** Works until done or until `slice.spent()`; true when there is more to do. */
  step(slice: Slices): boolean;
}

export interface SliceHooks {
  /** Each job that waits now gets one turn before this is called again. */
  beforeRound(): void;
  afterSlice(): void;
}

/**
 * Bounds of a slice, ms. A publish and its commit each wait for the end of one, so that the shortest decides how many
 * publishes there are to a pass when publishers wait for their acks: with 0.5 ms 420k deliveries/s to 1,000 sockets with
 * one publish in flight, with 0.1 ms 1.5M (ack p50 2.1 → 0.5 ms), with 0.05 ms more turns of the loop cost what they bring.
 */
const shortest = 0.1;
const longest = 20;

/**
 * Runs delivery in slices between which the event loop serves acks, accepts and reads. A slice lasts as long as the
 * loop spent elsewhere since the last one, within bounds: with a fixed length publishing starves
 * delivery (p50 2.2 s → 0.26 s with this rule at 256 publishes in flight). Jobs take turns.
 */
export class Slices {
  readonly #clock: Clock;
  readonly #hooks: SliceHooks;
  #jobs: (Job | undefined)[] = [];
  #next = 0;
  /** Jobs before it stood in the queue when the round began. */
  #roundEnd = 0;
  #scheduled = false;
  #lastEnd = 0;
  #deadline = 0;
  #writes = 0;

  constructor(clock: Clock, hooks: SliceHooks) {
    this.#clock = clock;
    this.#hooks = hooks;
  }

  /** Jobs waiting for a turn. */
  get waiting(): number {
    return this.#jobs.length - this.#next;
  }

  /** Up to 64 jobs from either end of the queue, where those that wait longest stand. */
  *sample(): Generator<Job> {
    const end = this.#jobs.length;
    for (let i = this.#next; i < Math.min(this.#next + 64, end); i++) yield this.#jobs[i]!;
    for (let i = Math.max(this.#next + 64, end - 64); i < end; i++) yield this.#jobs[i]!;
  }

  add(job: Job): void {
    this.#jobs.push(job);
    this.#schedule();
  }

  /** To be called after each write of `bytes`: true when the slice is over. Reads the clock only when it must. Hot. */
  spent(bytes: number): boolean {
    if (bytes <= 4096 && ++this.#writes < 4) return false;
    this.#writes = 0;
    return this.#clock.monotonic() >= this.#deadline;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.soon(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    const start = this.#clock.monotonic();
    this.#deadline = start + Math.min(longest, Math.max(shortest, start - this.#lastEnd));
    this.#writes = 0;
    let now = start;
    while (this.#next < this.#jobs.length && now < this.#deadline) {
      if (this.#next >= this.#roundEnd) {
        this.#roundEnd = this.#jobs.length;
        this.#hooks.beforeRound();
      }
      const job = this.#jobs[this.#next]!;
      this.#jobs[this.#next++] = undefined;
      if (job.step(this)) this.#jobs.push(job);
      now = this.#clock.monotonic();
    }
    if (this.#next === this.#jobs.length) {
      this.#jobs.length = 0;
      this.#next = 0;
      this.#roundEnd = 0;
    } else if (this.#next > 4096) {
      this.#jobs = this.#jobs.slice(this.#next);
      this.#roundEnd -= this.#next;
      this.#next = 0;
    }
    this.#lastEnd = now;
    this.#hooks.afterSlice();
    if (this.#jobs.length > 0) this.#schedule();
  };
}
