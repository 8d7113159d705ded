import { TailraceError } from '@tailrace/protocol';

/** Something that the brake holds back. */
export interface Held {
  /** It may go on. */
  released(): void;
}

/**
 * Holds publishers back when delivery cannot follow (design §7). Behind by more than `target` acks wait and streaming
 * publishers are not read on; beyond `limit` publishes are refused. The lag is looked at after each slice of delivery,
 * never on the way in: a process that was merely paused must not refuse what waited in its sockets meanwhile.
 */
export class Brake {
  readonly target: number;
  readonly limit: number;
  /** How long the oldest record that live cohorts still have to deliver has been committed, ms. */
  lag = 0;
  refused = 0;
  #held = new Set<Held>();

  constructor(target: number, limit: number) {
    this.target = target;
    this.limit = limit;
  }

  get heldCount(): number {
    return this.#held.size;
  }

  /** Throws `overloaded` while delivery is beyond the limit. */
  admit(): void {
    if (this.lag <= this.limit) return;
    this.refused++;
    const lag = Math.round(this.lag);
    throw new TailraceError('overloaded', `delivery is ${lag} ms behind, more than lag.limit = ${this.limit} ms`, {
      retryAfter: Math.max(100, lag),
    });
  }

  /** False: go on. True: `held` is released when the lag is back at the target. */
  hold(held: Held): boolean {
    if (this.lag <= this.target) return false;
    this.#held.add(held);
    return true;
  }

  /** It waits no more, whatever the lag is. */
  drop(held: Held): void {
    this.#held.delete(held);
  }

  update(lag: number): void {
    this.lag = lag;
    if (lag > this.target || this.#held.size === 0) return;
    const released = this.#held;
    this.#held = new Set();
    for (const held of released) held.released();
  }
}
