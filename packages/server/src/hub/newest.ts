import type { FilterSet } from '@tailrace/protocol';
import { Gate, type Log, type LogRecord, type Place, type Position } from '../log/index.ts';
import { logRewound } from './rewound.ts';

/** Bytes of lists kept for those who walk over them. */
const keptBytes = 8 * 1024 * 1024;
/** What a key and its entry take beside the offsets, about. */
const entryBytes = 256;
/** Lists for wildcards that are made at once: making one looks at every topic there is. */
const makingMax = 2;
/** Bytes of records looked through at a time for deletions. */
const scanBytes = 1024 * 1024;
/** No record weighs less. */
const recordWeightMin = 160;

/**
 * The newest `count` records of each topic that matches, as of `to`. Without count: what is current, of which that may be
 * missing that changed after `to`, since the change follows.
 */
export interface Snapshot {
  readonly count: number | undefined;
  readonly to: Position;
  /** What is current is followed from here: deletions beyond it are in the list too. */
  readonly since?: number;
}

/** Which records a snapshot consists of. */
export class NewestList {
  readonly snapshot: Snapshot;
  /** Ascending. */
  readonly offsets: Float64Array;
  readonly filtersKey: string;

  constructor(snapshot: Snapshot, offsets: Float64Array, filtersKey = '') {
    this.snapshot = snapshot;
    this.offsets = offsets;
    this.filtersKey = filtersKey;
  }

  get to(): Position {
    return this.snapshot.to;
  }

  /** Index of the first offset beyond `offset`. */
  indexAfter(offset: number): number {
    let low = 0;
    let high = this.offsets.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.offsets[mid]! <= offset) low = mid + 1;
      else high = mid;
    }
    return low;
  }
}

/**
 * Lists for `from=last` and the policy `last`, shared by all with the same filters. A snapshot is read like everything
 * else: by a cursor that moves from offset to offset of the list. Nobody holds a list between two steps. With one record
 * a topic any newer list serves as well: what it leaves out has been read, or is followed by what replaced it. That is not
 * so for tables, since a key that was deleted in between would stay, nor where what replaces a record may lie before the
 * cursor (`Places.inOrder`): one list is read to its end, and then what followed.
 */
export class Newest {
  readonly #log: Log;
  readonly #gate = new Gate(makingMax);
  readonly #kept = new Map<string, NewestList>();
  readonly #making = new Map<string, Making>();
  /** The newest list of what is current, by filters. */
  readonly #current = new Map<string, NewestList>();
  /** Of the lists kept. */
  bytes = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Forgets every list. */
  clear(): void {
    this.#kept.clear();
    this.#current.clear();
    this.#making.clear();
    this.bytes = 0;
  }

  /** The list as of the head, or of one that comes to be meanwhile; without count perhaps as of a little before. */
  now(filters: FilterSet, count: number | undefined): NewestList | Promise<NewestList> {
    const { head } = this.#log;
    if (count === undefined) {
      if (!this.#log.tables.mayMatch(filters)) return this.now(filters, 1);
      const list = this.#current.get(filters.key);
      // those who come together read one list and its blocks, and then the same few changes
      return list !== undefined && head.offset - list.to.offset <= list.offsets.length / 8
        ? list
        : this.#make(`current ${filters.key}`, filters, count, head);
    }
    const key = this.#keyOf(filters, count, head);
    const list = this.#find(key);
    return list?.to.offset === head.offset ? list : this.#make(key, filters, count, head);
  }

  /**
   * What one has to apply who has read up to `since`, instead of all that followed: of tables the newest of each key,
   * deletions among them, of other topics the newest.
   */
  changes(filters: FilterSet, since: number): NewestList | Promise<NewestList> {
    const { head, tables, places } = this.#log;
    if (places.inOrder && !tables.mayMatch(filters)) return this.now(filters, 1);
    return this.#make(`${since} current ${filters.key}`, filters, undefined, head, undefined, since);
  }

  /** The list on which one goes on who reads this snapshot, or a newer one; it may have to be made again. */
  of(filters: FilterSet, { count, to, since }: Snapshot): NewestList | Promise<NewestList> {
    const key = this.#keyOf(filters, count, to, since);
    const list = this.#find(key);
    if (count === undefined) return list ?? this.#make(key, filters, count, to, to, since);
    return list !== undefined && list.to.offset >= to.offset ? list : this.#make(key, filters, count, to);
  }

  /** What is current at a moment during the call. */
  async exact(filters: FilterSet): Promise<NewestList> {
    const { head } = this.#log;
    for (;;) {
      const list = this.#log.tables.mayMatch(filters)
        ? await this.#make(`current ${filters.key}`, filters, undefined, head)
        : await this.now(filters, 1);
      // one that others asked for may be as of before
      if (list.to.offset >= head.offset) return list;
    }
  }

  #find(key: string): NewestList | undefined {
    const list = this.#kept.get(key);
    if (list === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, list);
    return list;
  }

  #make(
    key: string,
    filters: FilterSet,
    count: number | undefined,
    to: Position,
    asOf?: Position,
    since?: number,
  ): Promise<NewestList> {
    const running = this.#making.get(key);
    // all who come before it begins are served by one list
    if (running !== undefined && (running.to === undefined || running.to >= to.offset)) return running.list;
    const making = new Making(self => {
      const collect = (): Promise<NewestList> =>
        count === undefined
          ? this.#collectCurrent(self, key, filters, asOf, since)
          : this.#collect(self, key, filters, count, to);
      return filters.exact === null || count === undefined ? this.#gate.run(collect) : collect();
    });
    this.#making.set(key, making);
    return making.list;
  }

  async #collect(making: Making, key: string, filters: FilterSet, count: number, asked: Position): Promise<NewestList> {
    const { rewinds, places } = this.#log;
    const to = count === 1 && places.inOrder ? this.#log.head : asked;
    making.to = to.offset;
    try {
      const list = new NewestList({ count, to }, await this.#log.newest(filters, count, to.offset));
      if (rewinds !== this.#log.rewinds) throw logRewound();
      this.#keep(key, list);
      return list;
    } finally {
      if (this.#making.get(key) === making) this.#making.delete(key);
    }
  }

  async #collectCurrent(
    making: Making,
    key: string,
    filters: FilterSet,
    asOf: Position | undefined,
    since: number | undefined,
  ): Promise<NewestList> {
    const { rewinds } = this.#log;
    making.to = asOf?.offset ?? this.#log.head.offset;
    try {
      const { to, offsets } = await this.#log.current(filters, asOf);
      const all = since === undefined ? offsets : await this.#withDeletions(filters, offsets, since, to.offset);
      const list = new NewestList(
        { count: undefined, to, ...(since === undefined ? {} : { since }) },
        all,
        filters.key,
      );
      if (rewinds !== this.#log.rewinds) throw logRewound();
      this.#keep(this.#keyOf(filters, undefined, to, since), list);
      if (asOf === undefined && since === undefined) this.#current.set(filters.key, list);
      return list;
    } finally {
      if (this.#making.get(key) === making) this.#making.delete(key);
    }
  }

  /** What is replaced later is in the list after it: who applies them in order comes to the same. */
  async #withDeletions(filters: FilterSet, current: Float64Array, since: number, to: number): Promise<Float64Array> {
    const { tables, places } = this.#log;
    const deletions: number[] = [];
    for (let at = tables.mayMatch(filters) ? Math.max(since, this.#log.floor) : to; at < to; ) {
      const { records, next } = await this.#log.read(at, to, filters, scanBytes);
      for (const record of records) {
        const { key, data, topic } = record;
        if (key !== undefined && data.length === 0 && tables.has(topic)) deletions.push(places.lookupOf(record));
      }
      at = next;
    }
    const all = new Float64Array(current.length + deletions.length);
    all.set(current);
    all.set(deletions, current.length);
    return places.beyond(all.sort(), since);
  }

  /**
   * With more records a topic a newer list would leave out some in between: it is one of a certain moment. So it is where
   * what replaces a record may lie before the cursor.
   */
  #keyOf(filters: FilterSet, count: number | undefined, to: Position, since?: number): string {
    const what = since === undefined ? `${count ?? 'current'}` : `current since ${since}`;
    return count === 1 && this.#log.places.inOrder ? `1 ${filters.key}` : `${what} ${to.offset} ${filters.key}`;
  }

  #keep(key: string, list: NewestList): void {
    const before = this.#kept.get(key);
    if (before !== undefined) {
      if (before.to.offset > list.to.offset) return;
      this.#drop(key, before);
    }
    this.#kept.set(key, list);
    this.bytes += list.offsets.byteLength + entryBytes;
    for (const [oldest, old] of this.#kept) {
      // one that is larger than all may be is kept alone, or it would be made anew for each step
      if (this.bytes <= keptBytes || old === list) return;
      this.#drop(oldest, old);
    }
  }

  #drop(key: string, list: NewestList): void {
    this.#kept.delete(key);
    if (this.#current.get(list.filtersKey) === list) this.#current.delete(list.filtersKey);
    this.bytes -= list.offsets.byteLength + entryBytes;
  }
}

class Making {
  /** The head when it began; undefined while it waits for its turn. */
  to: number | undefined = undefined;
  readonly list: Promise<NewestList>;

  constructor(begin: (self: Making) => Promise<NewestList>) {
    this.list = begin(this);
  }
}

/** One step over a list. */
export interface NewestStep {
  readonly records: readonly LogRecord[];
  /** The list has been read up to here; its end when nothing of it is left. */
  readonly next: Place;
  /** Retention was faster: the records up to here are gone, and reading goes on behind them. */
  readonly trimmedTo: Position | undefined;
}

/** Reads what the list has in (`after`, `to`], about `maxBytes`. */
export async function readNewest(
  log: Log,
  list: NewestList,
  after: number,
  to: number,
  maxBytes: number,
): Promise<NewestStep> {
  const from = list.indexAfter(after);
  const end = list.indexAfter(to);
  const offsets = list.offsets.subarray(from, Math.min(from + Math.ceil(maxBytes / recordWeightMin), end));
  const records = await log.recordsAt(offsets, maxBytes);
  const first = records[0];
  const gone = first === undefined ? offsets.length : offsets.indexOf(first.offset);
  if (gone > 0) {
    const next = await log.positionOf(Math.max(log.floor, offsets[gone - 1]!));
    // what is gone above the floor has been replaced since, and what replaced it follows
    return { records: [], next, trimmedTo: log.places.isAtFloor(offsets[0]!) ? next : undefined };
  }
  const next = from + records.length === end ? list.to : records[records.length - 1]!;
  return { records, next, trimmedTo: undefined };
}
