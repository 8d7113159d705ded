/** One run of the log: its number and the first offset it appended, or would have. */
export interface EpochStart {
  readonly epoch: number;
  readonly first: number;
}

/** The epochs of a log, oldest first; numbers and first offsets never fall. */
export class EpochList {
  readonly #starts: EpochStart[];

  constructor(starts: readonly EpochStart[]) {
    this.#starts = [...starts];
  }

  get starts(): readonly EpochStart[] {
    return this.#starts;
  }

  /** The running epoch. */
  get current(): EpochStart | undefined {
    return this.#starts[this.#starts.length - 1];
  }

  begin(epoch: number, first: number): void {
    this.#starts.push({ epoch, first });
  }

  /** See `Log.endOf`; `head` is the newest committed offset. */
  endOf(epoch: number, head: number): number | undefined {
    const at = this.#lastWhere(start => start.epoch <= epoch);
    const start = this.#starts[at];
    if (start === undefined || start.epoch !== epoch) return undefined;
    const next = this.#starts[at + 1];
    return next === undefined ? head : next.first - 1;
  }

  /** The epoch in which `offset` was, or would next be, appended. */
  epochOf(offset: number): number {
    const at = this.#lastWhere(start => start.first <= offset);
    return (this.#starts[at] ?? this.#starts[0])?.epoch ?? 0;
  }

  #lastWhere(holds: (start: EpochStart) => boolean): number {
    // readers nearly always ask for the running epoch
    const newest = this.#starts.length - 1;
    if (newest >= 0 && holds(this.#starts[newest]!)) return newest;
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (holds(this.#starts[mid]!)) low = mid + 1;
      else high = mid;
    }
    return low - 1;
  }
}

/** The number of the next epoch: above the previous, and about the seconds of now, so that a copy restored from a
 * backup never repeats a number that the original gave out since. */
export function nextEpoch(previous: number, now: number): number {
  return Math.max(previous + 1, Math.floor(now / 1000));
}
