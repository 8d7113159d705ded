import type { Clock } from '../log/clock.ts';

export interface FreshnessParts<Stand> {
  readonly clock: Clock;
  /** Asks the server where the log stands. */
  readonly ask: () => Promise<Stand>;
  /** Resolves when the tail of this node has come so far, or never will. */
  readonly reached: (stand: Stand) => Promise<void>;
}

/** How long a node is waited for that is behind, ms: clients wait with it. */
const patience = 2000;

/** Brings this node up to where the server is: what looks unknown here may be what another node has read already. */
export class Freshness<Stand> {
  readonly #parts: FreshnessParts<Stand>;
  #asking: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(parts: FreshnessParts<Stand>) {
    this.#parts = parts;
  }

  /** Resolves when this node has read what the server held when it was called, or cannot. All who come meanwhile share one question. */
  upToDate(): Promise<void> {
    if (this.#asking === undefined) return this.#begin();
    // what was asked already may be older than what the caller knows of
    this.#next ??= this.#asking.then(() => {
      this.#next = undefined;
      return this.#begin();
    });
    return this.#next;
  }

  #begin(): Promise<void> {
    const asking = this.#run().finally(() => {
      if (this.#asking === asking) this.#asking = undefined;
    });
    this.#asking = asking;
    return asking;
  }

  async #run(): Promise<void> {
    const { clock, ask, reached } = this.#parts;
    let stopWatch = (): void => {};
    const late = new Promise<void>(resolve => {
      stopWatch = clock.after(patience, resolve);
    });
    const fresh = ask()
      .then(reached)
      // a server that does not answer leaves what is known
      .catch(() => {});
    await Promise.race([fresh, late]);
    stopWatch();
  }
}
