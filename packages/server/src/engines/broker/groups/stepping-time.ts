export interface SteppingTimeState {
  readonly newest: number;
  readonly ahead: number;
}

/**
 * The time that deadlines run by: that of a clock that may be set, and of whoever leads just now. It never goes back, and
 * when the clock does, what was due in five seconds still is.
 */
export class SteppingTime {
  #newest = 0;
  /** What the clock went back by, so far. */
  #ahead = 0;

  /** Now, when the clock shows `time`. Within `tolerance` (ms) a time before the newest is none that went back. */
  at(time: number, tolerance: number): number {
    if (time < this.#newest - tolerance) {
      this.#ahead += this.#newest - time;
      this.#newest = time;
    }
    this.#newest = Math.max(this.#newest, time);
    return this.#newest + this.#ahead;
  }

  get state(): SteppingTimeState {
    return { newest: this.#newest, ahead: this.#ahead };
  }

  restore({ newest, ahead }: SteppingTimeState): void {
    this.#newest = newest;
    this.#ahead = ahead;
  }
}
