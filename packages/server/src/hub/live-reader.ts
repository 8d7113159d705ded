import type { FilterSet } from '@tailrace/protocol';
import { type Dropped, type Log, type LogRecord, nothingDropped, type Place } from '../log/index.ts';
import type { Newest, NewestList } from './newest.ts';
import { Reader } from './reader.ts';
import type { IndexTarget, TopicIndex } from './topic-index.ts';
import type { VolatileTail } from './volatile.ts';

/** A Reader that also gets class `none`, as live sessions do: at the head only, and nothing that passed while it lagged. */
export class LiveReader extends Reader {
  readonly #volatile: VolatileTail;
  #seen: number;

  constructor(
    log: Log,
    index: TopicIndex<IndexTarget>,
    volatile: VolatileTail,
    filters: FilterSet,
    at: Place,
    snapshot: NewestList | undefined = undefined,
    told: Dropped = nothingDropped,
    newest: Newest | undefined = undefined,
  ) {
    super(log, index, filters, at, snapshot, told, newest);
    this.#volatile = volatile;
    this.#seen = volatile.head;
  }

  /** What matches and was passed on since the last time, about `maxBytes`. Ask at the head, and before `wait`. */
  passedOn(maxBytes: number): readonly LogRecord[] {
    const { records, next } = this.#volatile.read(this.filters, this.#seen, maxBytes);
    this.#seen = next;
    return records;
  }

  /** It is not at the head: what was passed on until now is lost to it. */
  lag(): void {
    this.#seen = this.#volatile.head;
  }

  /** A message of class `none` that it reads was passed on. */
  markVolatile(): void {
    this.stopWaiting();
  }
}
