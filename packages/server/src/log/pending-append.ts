import type { Appended, AppendFailure } from './log.ts';

/** One call of `append` on its way to its commit: one Promise and one array, whatever the number of messages. */
export class PendingAppend {
  readonly promise: Promise<readonly (Appended | AppendFailure)[]>;
  readonly results: (Appended | AppendFailure)[] = [];
  /** The commit of this offset settles the append: its newest record, or a duplicate's that is on its way too. */
  until = 0;
  #resolve!: (results: readonly (Appended | AppendFailure)[]) => void;
  #reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  settle(): void {
    this.#resolve(this.results);
  }

  /**
   * The records above `head` were not appended, or nobody knows. What an earlier batch committed stays a result, and
   * `error` takes the place of the first that failed.
   */
  fail(error: Error, head: number): void {
    let kept = 0;
    while (kept < this.results.length) {
      const result = this.results[kept]!;
      if ('error' in result || result.offset > head) break;
      kept++;
    }
    if (kept === 0) {
      this.#reject(error);
      return;
    }
    this.results.length = kept;
    this.results.push({ error });
    this.#resolve(this.results);
  }
}
