import type { Clock } from '../log/index.ts';
import type { Expiring } from './deadlines.ts';

/** ms between two looks: how late an answer may come. */
const beatMs = 20;

/**
 * Deadlines of any length. In which order they come is not known, so each look goes over all that wait; one beat serves
 * them, and only while some do (I8).
 */
export class MixedDeadlines {
  readonly #clock: Clock;
  #waiting: { readonly at: number; readonly item: Expiring }[] = [];
  #stop: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Expires `item` after `ms`, unless it is settled by then. */
  add(item: Expiring, ms: number): void {
    this.#waiting.push({ at: this.#clock.monotonic() + ms, item });
    this.#stop ??= this.#clock.every(beatMs, () => this.#look());
  }

  #look(): void {
    const now = this.#clock.monotonic();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const entry of waiting) {
      if (entry.item.settled) continue;
      if (entry.at > now) this.#waiting.push(entry);
      else entry.item.expire();
    }
    if (this.#waiting.length > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }
}
