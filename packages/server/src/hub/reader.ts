import type { FilterSet } from '@tailrace/protocol';
import type { Log, LogRecord, Position } from '../log/index.ts';
import type { IndexTarget, TopicIndex } from './topic-index.ts';

/** What one read of a Reader gave. */
export interface Read {
  readonly records: readonly LogRecord[];
  /** Retention had removed what lay between the cursor and here; reading went on from here. */
  readonly gap: Position | undefined;
  /** The head was reached: nothing that matches is left beyond the cursor. */
  readonly atHead: boolean;
}

/**
 * A cursor that is pulled: long-poll, replay and the async iterable of embedded use read with it. Costs nothing while
 * nobody asks; waiting is an entry in the topic index, no timer and no queue.
 */
export class Reader implements IndexTarget {
  readonly filters: FilterSet;
  offset: number;
  time: number;
  readonly #log: Log;
  readonly #index: TopicIndex<IndexTarget>;
  #wake: (() => void) | undefined;

  constructor(
    log: Log,
    index: TopicIndex<IndexTarget>,
    filters: FilterSet,
    at: { readonly offset: number; readonly time: number },
  ) {
    this.#log = log;
    this.#index = index;
    this.filters = filters;
    this.offset = at.offset;
    this.time = at.time;
  }

  /** Reads on to at most `to`, about `maxBytes`; moves the cursor. */
  async read(maxBytes: number, to: number = this.#log.head.offset): Promise<Read> {
    const { hot } = this.#log;
    if (this.offset >= to) return { records: [], gap: undefined, atHead: true };
    if (this.offset >= hot.base) {
      const records: LogRecord[] = [];
      const next = hot.read(this.offset, to, this.filters, maxBytes, records);
      this.#moveTo(next, hot.timeAt(next) ?? this.time);
      return { records, gap: undefined, atHead: next >= to };
    }
    const asked = this.offset;
    const slice = await this.#log.read(asked, to, this.filters, maxBytes);
    const gap = slice.after > asked ? await this.#log.positionOf(slice.after) : undefined;
    this.#moveTo(slice.next, slice.time);
    return { records: slice.records, gap, atHead: slice.next >= to };
  }

  /** Resolves when a record beyond the cursor may match, or when `signal` aborts. */
  wait(signal: AbortSignal): Promise<void> {
    // what was committed since the last read has marked its targets already, and would wake nobody
    if (signal.aborted || this.offset < this.#log.head.offset) return Promise.resolve();
    return new Promise(resolve => {
      const done = (): void => {
        this.#wake = undefined;
        this.#index.remove(this.filters, this);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#wake = done;
      this.#index.add(this.filters, this);
      signal.addEventListener('abort', done);
    });
  }

  mark(): void {
    this.#wake?.();
  }

  #moveTo(offset: number, time: number): void {
    this.offset = offset;
    this.time = time;
  }
}
