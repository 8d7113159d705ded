/** Reads of files that are under way: who takes files away waits until nobody reads them any more. */
export class ReadsInFlight {
  #now: { count: number; done: (() => void) | undefined } = { count: 0, done: undefined };

  async run<T>(read: () => Promise<T>): Promise<T> {
    const began = this.#now;
    began.count++;
    try {
      return await read();
    } finally {
      if (--began.count === 0) began.done?.();
    }
  }

  /** Resolves when every read that is under way now has ended. Not to be called again before it has resolved. */
  past(): Promise<void> {
    const before = this.#now;
    this.#now = { count: 0, done: undefined };
    if (before.count === 0) return Promise.resolve();
    return new Promise(resolve => {
      before.done = resolve;
    });
  }
}
