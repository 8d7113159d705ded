import type { Message } from '@tailrace/protocol';
import { encodedBound } from '../../log/intake.ts';
import type { Table } from '../../log/key-index.ts';
import type { Appended, AppendFailure } from '../../log/log.ts';

export type Result = Appended | AppendFailure;

/** A call of `append`, which may take several requests to the broker. */
export class Call {
  readonly messages: readonly Message[];
  readonly bytes: number;
  /** When it was made, monotonic. */
  readonly since: number;
  readonly promise: Promise<readonly Result[]>;
  /** Keys of these topics have to be known before it is judged. */
  readonly expecting: ReadonlySet<string>;
  tables: readonly Table[] = [];
  /** The first message that is in no request yet. */
  next = 0;
  /** Messages of the request under way. */
  underWay = 0;
  readonly #results: Result[] = [];
  #failedAt = Number.POSITIVE_INFINITY;
  #failure: Error | undefined;
  #resolve!: (results: readonly Result[]) => void;
  #reject!: (error: unknown) => void;

  constructor(messages: readonly Message[], since: number) {
    this.messages = messages;
    this.since = since;
    this.bytes = boundOf(messages);
    this.expecting = new Set(messages.filter(({ expect }) => expect !== undefined).map(({ topic }) => topic));
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Nothing of it is left to be judged. */
  get isJudged(): boolean {
    return this.#failure !== undefined || this.#failedAt < this.next || this.next === this.messages.length;
  }

  get isDone(): boolean {
    return this.isJudged && this.underWay === 0;
  }

  /** What became of a message; those before it are known already, or under way. */
  add(index: number, result: Result): void {
    this.#results[index] = result;
    if (!('error' in result)) return;
    // nothing behind it counts
    this.#failedAt = index;
    this.#results.length = index + 1;
  }

  /** The messages from `index` on have to be judged again. */
  goBack(index: number): void {
    if (this.#failure !== undefined || this.#failedAt < index) return;
    this.#failedAt = Number.POSITIVE_INFINITY;
    this.#results.length = Math.min(this.#results.length, index);
    this.next = Math.min(this.next, index);
  }

  /** Nothing of what is left was appended, or nobody knows. */
  giveUp(error: Error): void {
    this.#failure ??= error;
  }

  /** What became of the messages before one that was given up stays a result. */
  settle(): void {
    let known = 0;
    while (known < this.#results.length && this.#results[known] !== undefined) known++;
    const kept = this.#results.slice(0, known);
    if (this.#failure === undefined) this.#resolve(kept);
    else if (kept.length === 0) this.#reject(this.#failure);
    else this.#resolve('error' in kept[kept.length - 1]! ? kept : [...kept, { error: this.#failure }]);
  }
}

function boundOf(messages: readonly Message[]): number {
  let bytes = 0;
  for (const message of messages) bytes += encodedBound(message);
  return bytes;
}
