import { TailraceError } from '@tailrace/protocol';
import type { KnownLog } from './known-log.ts';

interface Arrival {
  readonly epoch: number;
  readonly offset: number;
  readonly resolve: () => void;
}

/** Who waits until the tail of this node has come to something: an append is visible here before it is acked. */
export class Arrivals {
  readonly #known: KnownLog;
  #waiting: Arrival[] = [];
  #abandoned = false;

  constructor(known: KnownLog) {
    this.#known = known;
  }

  /** Resolves when the tail has come to `offset` of `epoch`. Rejects with `outcome_unknown` when the log went on without it. */
  async reached(epoch: number, offset: number): Promise<void> {
    if (!this.#has(epoch, offset)) await new Promise<void>(resolve => this.#waiting.push({ epoch, offset, resolve }));
    if ((this.#known.epochs.endOf(epoch, this.#known.offset) ?? 0) < offset)
      throw new TailraceError(
        'outcome_unknown',
        this.#abandoned
          ? 'the log was closed before this node had read back what Redis took; publish again with the same id'
          : 'Redis lost its newest records right after it had taken this one; publish again with the same id',
        { retryAfter: 100 },
      );
  }

  /** Resolves at the next look, whatever has come. */
  next(): Promise<void> {
    return new Promise(resolve => this.#waiting.push({ epoch: 0, offset: 0, resolve }));
  }

  /** Something has come, or what is known of the log has changed. */
  look(): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const arrival of waiting)
      if (this.#has(arrival.epoch, arrival.offset)) arrival.resolve();
      else this.#waiting.push(arrival);
  }

  /** Nothing more will come. */
  abandon(): void {
    this.#abandoned = true;
    this.look();
  }

  /** Whether the tail has come to `offset` as it is in this epoch, or never will: the log has gone on without it. */
  #has(epoch: number, offset: number): boolean {
    if (this.#abandoned) return true;
    const { epochs, offset: head } = this.#known;
    // an epoch in which nothing was appended has no record by which the tail could come to it
    if ((epochs.current?.epoch ?? 0) < epoch) return false;
    return head >= offset || (epochs.endOf(epoch, offset) ?? 0) < offset;
  }
}
