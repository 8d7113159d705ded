import type { Appended, AppendFailure } from './log.ts';

type Result = Appended | AppendFailure;

// set by `takeSettlers` while a Promise is made
let resolveNext: (results: readonly Result[]) => void;
let rejectNext: (error: Error) => void;

/** One function for all Promises: a closure for each costs as much memory as the rest of an append. */
function takeSettlers(resolve: (results: readonly Result[]) => void, reject: (error: Error) => void): void {
  resolveNext = resolve;
  rejectNext = reject;
}

const nothing: Result[] = [];

/** One call of `append` on its way to its commit: one Promise and one array, whatever the number of messages. */
export class PendingAppend {
  readonly promise: Promise<readonly Result[]> = new Promise(takeSettlers);
  /** The commit of this offset settles the append: its newest record, or a duplicate's that is on its way too. */
  until = 0;
  readonly #resolve = resolveNext;
  readonly #reject = rejectNext;
  #results = nothing;

  /** What became of each message so far. */
  get results(): readonly Result[] {
    return this.#results;
  }

  /** Hot. */
  add(result: Result): void {
    // a literal has room for one, an empty array that is pushed to for 17: most appends are of one message
    if (this.#results === nothing) this.#results = [result];
    else this.#results.push(result);
  }

  settle(): void {
    this.#resolve(this.#results);
  }

  /**
   * The records above `head` were not appended, or nobody knows. What an earlier batch committed stays a result, and
   * `error` takes the place of the first that failed.
   */
  fail(error: Error, head: number): void {
    const lost = this.#results.findIndex(result => 'error' in result || result.offset > head);
    const kept = lost === -1 ? this.#results : this.#results.slice(0, lost);
    if (kept.length === 0) this.#reject(error);
    else this.#resolve([...kept, { error }]);
  }
}
