import type { FilterSet } from '@tailrace/protocol';
import { type Dropped, type Log, type LogRecord, laterDropped, nothingDropped, type Place } from '../log/index.ts';
import { beginAnew } from './anew.ts';
import { type Newest, type NewestList, readNewest } from './newest.ts';
import { logRewound } from './rewound.ts';
import type { IndexTarget, TopicIndex } from './topic-index.ts';

/** What one read of a Reader gave. */
export interface Read {
  readonly records: readonly LogRecord[];
  /** Something between the cursor and what follows was removed; reading went on from here. */
  readonly gap: Place | undefined;
  /** Deletions were removed that are known to nobody any more; reading goes on from here, with a snapshot if it follows. */
  readonly reset: Place | undefined;
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
  /** Nothing that matches lies between `offset` and here. */
  #scanned: number;
  #snapshot: NewestList | undefined;
  #told: Dropped;
  /** It is told that something of the stretch is gone in which it reads. */
  #toldLack = false;
  readonly #log: Log;
  readonly #index: TopicIndex<IndexTarget>;
  /** Set: a reset leads to a snapshot. */
  readonly #newest: Newest | undefined;
  /** Of the log, when it began. */
  readonly #rewinds: number;
  #wake: ((scanned: number) => void) | undefined;

  constructor(
    log: Log,
    index: TopicIndex<IndexTarget>,
    filters: FilterSet,
    at: Place,
    snapshot: NewestList | undefined = undefined,
    told: Dropped = nothingDropped,
    newest: Newest | undefined = undefined,
  ) {
    this.#newest = newest;
    this.#log = log;
    this.#rewinds = log.rewinds;
    this.#index = index;
    this.filters = filters;
    this.offset = at.offset;
    this.time = at.time;
    this.#scanned = at.offset;
    this.#snapshot = snapshot;
    this.#told = told;
  }

  /** The next read needs nothing but memory. */
  get isHot(): boolean {
    return this.#snapshot === undefined && this.#readsMemory;
  }

  /** The log has gone back since it began: its cursor means nothing any more. */
  get isRewound(): boolean {
    return this.#log.rewinds !== this.#rewinds;
  }

  /** What was deleted from memory is told by who reads the log. */
  get #readsMemory(): boolean {
    const { hot, deletions } = this.#log;
    return this.#scanned >= hot.base && this.#scanned >= deletions.newest;
  }

  /** Reads on to at most `to`, about `maxBytes`; moves the cursor. Rejects with `log_rewound`: begin anew by the last cursor. */
  async read(maxBytes: number, to: number = this.#log.head.offset): Promise<Read> {
    if (this.isRewound) throw logRewound();
    const read = await this.#readOn(maxBytes, to);
    // the log may have gone back while it was read
    if (this.isRewound) throw logRewound();
    return read;
  }

  async #readOn(maxBytes: number, to: number): Promise<Read> {
    const { hot } = this.#log;
    if (this.#snapshot !== undefined) return this.#readSnapshot(this.#snapshot, maxBytes, to);
    if (this.offset >= to) return { records: [], gap: undefined, reset: undefined, atHead: true };
    if (this.#readsMemory) {
      const records: LogRecord[] = [];
      const next = this.#scanned < to ? hot.read(this.#scanned, to, this.filters, maxBytes, records) : to;
      this.#moveTo(next, hot.timeAt(next) ?? this.time);
      return { records, gap: undefined, reset: undefined, atHead: next >= to };
    }
    const asked = this.#scanned;
    const slice = await this.#log.read(asked, to, this.filters, maxBytes);
    const { after, records, next, time, dropped } = slice;
    const told = this.#told;
    this.#told = laterDropped(told, dropped);
    if (dropped.deletions > Math.max(asked, told.deletions)) {
      const reset = await this.#beginAnew(dropped.deletions);
      this.#moveTo(reset.offset, reset.time);
      return { records: [], gap: undefined, reset, atHead: reset.offset >= to };
    }
    const isDropped = dropped.records > Math.max(asked, told.records);
    const lacks = slice.lacks === true && !this.#toldLack;
    this.#toldLack = slice.lacks === true;
    const here = isDropped || lacks ? { offset: this.offset, time: this.time } : undefined;
    const gap = after > asked ? await this.#log.positionOf(after) : here;
    this.#moveTo(next, time);
    return { records, gap, reset: undefined, atHead: next >= to };
  }

  async #beginAnew(deletion: number): Promise<Place> {
    const newest = this.#newest;
    if (newest === undefined) return this.#log.positionOf(deletion);
    const { filters } = this;
    const { at, snapshot } = await beginAnew(this.#log, filters, deletion, to =>
      newest.of(filters, { count: undefined, to }),
    );
    this.#snapshot = snapshot;
    return at;
  }

  /** Offset up to which something is dropped of which it was told, and which it has not passed; undefined when there is none. */
  get toldTo(): number | undefined {
    return this.#told.records > this.offset ? this.#told.records : undefined;
  }

  /** As of when what is current is of which it is in the middle; undefined when what lies behind its cursor follows that anyway. */
  get snapshotTo(): number | undefined {
    const { count, to } = this.#snapshot?.snapshot ?? {};
    const isCurrent = count === undefined || (count === 1 && !this.#log.places.inOrder);
    return isCurrent && this.offset < (to?.offset ?? 0) ? to?.offset : undefined;
  }

  async #readSnapshot(list: NewestList, maxBytes: number, to: number): Promise<Read> {
    const { records, next, trimmedTo } = await readNewest(this.#log, list, this.offset, to, maxBytes);
    if (next.offset >= list.to.offset) this.#snapshot = undefined;
    this.#moveTo(next.offset, next.time);
    return { records, gap: trimmedTo, reset: undefined, atHead: next.offset >= to };
  }

  /** Resolves when a record beyond the cursor may match, or when `signal` aborts. */
  wait(signal: AbortSignal): Promise<void> {
    // what was committed since the last read has marked its targets already, and would wake nobody
    if (signal.aborted || this.offset < this.#log.head.offset) return Promise.resolve();
    return new Promise(resolve => {
      const done = (scanned: number): void => {
        this.#scanned = scanned;
        this.#wake = undefined;
        this.#index.remove(this.filters, this);
        signal.removeEventListener('abort', aborted);
        resolve();
      };
      const aborted = (): void => this.stopWaiting();
      this.#wake = done;
      this.#index.add(this.filters, this);
      signal.addEventListener('abort', aborted);
    });
  }

  // nothing matched while it waited, until this
  mark(offset: number): void {
    this.#wake?.(offset - 1);
  }

  /** The log has lost what it had read perhaps: it wakes, and its next read says so. */
  rewound(): void {
    this.stopWaiting();
  }

  /** Ends the wait although nothing matched up to the head. */
  protected stopWaiting(): void {
    this.#wake?.(this.#log.head.offset);
  }

  #moveTo(offset: number, time: number): void {
    this.offset = offset;
    this.time = time;
    this.#scanned = offset;
  }
}
