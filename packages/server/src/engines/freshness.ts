import type { Clock } from '../log/clock.ts';

export interface FreshnessParts {
  readonly clock: Clock;
  /** Asks the server for its newest record. */
  readonly ask: () => Promise<{ readonly epoch: number; readonly offset: number }>;
  /** Resolves when the tail of this node has come to a record, or never will. */
  readonly reached: (epoch: number, offset: number) => Promise<void>;
}

/** How long a node is waited for that is behind, ms: clients wait with it. */
const patience = 2000;

/** Brings this node up to where the server is: what looks unknown here may be what another node has read already. */
export class Freshness {
  readonly #parts: FreshnessParts;
  #asking: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(parts: FreshnessParts) {
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
      .then(({ epoch, offset }) => reached(epoch, offset))
      // a server that does not answer leaves what is known
      .catch(() => {});
    await Promise.race([fresh, late]);
    stopWatch();
  }
}
