import type { FilterSet } from '@tailrace/protocol';
import type { Log, LogRecord, Position } from '../log/index.ts';
import { type Newest, readNewest, type Snapshot } from './newest.ts';
import { logRewound } from './rewound.ts';

/** Reads what is current, in order of offset. Holds a cursor, and the list only for a step. */
export class StateReader {
  offset: number;
  readonly #log: Log;
  readonly #newest: Newest;
  readonly #filters: FilterSet;
  readonly #rewinds: number;
  #snapshot: Snapshot;

  private constructor(log: Log, newest: Newest, filters: FilterSet, snapshot: Snapshot, after: number) {
    this.#log = log;
    this.#rewinds = log.rewinds;
    this.#newest = newest;
    this.#filters = filters;
    this.#snapshot = snapshot;
    this.offset = after;
  }

  /** Begins with what is current now; or goes on behind `after` in what was at `to`, without what has changed since. */
  static async begin(
    log: Log,
    newest: Newest,
    filters: FilterSet,
    to: Position | undefined,
    after: number,
  ): Promise<StateReader> {
    const count = log.tables.mayMatch(filters) ? undefined : 1;
    const snapshot = to === undefined ? (await newest.exact(filters)).snapshot : { count, to };
    return new StateReader(log, newest, filters, snapshot, after);
  }

  /** As of when it is; who goes on from here live misses nothing. */
  get to(): Position {
    return this.#snapshot.to;
  }

  get atEnd(): boolean {
    return this.offset >= this.#snapshot.to.offset;
  }

  /** The next records, about `maxBytes`. */
  async read(maxBytes: number): Promise<readonly LogRecord[]> {
    const list = await this.#newest.of(this.#filters, this.#snapshot);
    this.#snapshot = list.snapshot;
    const { records, next } = await readNewest(this.#log, list, this.offset, list.to.offset, maxBytes);
    if (this.#log.rewinds !== this.#rewinds) throw logRewound();
    this.offset = next.offset;
    return records;
  }
}
