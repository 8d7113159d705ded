import { type FilterSet, filterSet } from '@tailrace/protocol';
import type { KeyIndex, Table } from './key-index.ts';
import type { Current, Log, Position } from './log.ts';
import type { LogRecord } from './record.ts';
import type { Tables } from './tables.ts';

/** Offsets of the newest record with offset ≤ `to` of each matching topic that has one. */
export type NewestByTopic = (filters: FilterSet, to: number) => Promise<ReadonlyMap<string, readonly number[]>>;

export interface CurrentParts {
  readonly log: Pick<Log, 'head' | 'floor' | 'hot'>;
  readonly tables: Tables;
  readonly index: KeyIndex;
  /** The newest offset given out. */
  readonly appended: () => number;
  readonly newest: NewestByTopic;
}

/** The tables that the first round made are there in the second, which takes no time. */
const roundsMax = 3;

/** See `Log.current`. */
export async function currentOf(parts: CurrentParts, filters: FilterSet, asked?: Position): Promise<Current> {
  const { log, index } = parts;
  let to = asked ?? log.head;
  let newest: Map<string, readonly number[]>;
  const used = new Map<string, Table>();
  // of tables that had to make room for others
  const taken = new Map<string, readonly number[]>();
  try {
    for (let round = 1; ; round++) {
      newest = new Map(await parts.newest(filters, to.offset));
      for (const topic of newest.keys()) {
        if (!parts.tables.has(topic) || used.has(topic) || taken.has(topic)) continue;
        const table = index.use(topic, parts.appended());
        used.set(topic, table);
        await table.loading;
        if (!index.overfull) continue;
        for (const [name, full] of used) {
          taken.set(name, full.offsets(log.floor, to.offset));
          index.release(full);
        }
        used.clear();
      }
      // what is taken is as of `to`, and what changes meanwhile follows that
      if (taken.size > 0) return { to, offsets: collect(newest, used, taken, log.floor, to.offset) };
      if (asked !== undefined || log.hot.base <= to.offset || round === roundsMax) break;
      to = log.head;
    }
    const young = new Map<string, readonly number[]>();
    // what was committed while the tables were made; when it is too much for memory even so, it follows as changes
    if (asked === undefined && log.hot.base <= to.offset) {
      const { head } = log;
      for (const topic of log.hot.matchedTopics(to.offset, head.offset, filters)) {
        if (!parts.tables.has(topic)) newest.set(topic, log.hot.newest(topic, 1, head.offset));
        else if (!used.has(topic)) young.set(topic, keysBetween(log, topic, to.offset, head.offset));
      }
      to = head;
    }
    return { to, offsets: collect(newest, used, young, log.floor, to.offset) };
  } finally {
    for (const table of used.values()) index.release(table);
  }
}

/** `others`: of topics that no table is held of. */
function collect(
  newest: ReadonlyMap<string, readonly number[]>,
  used: ReadonlyMap<string, Table>,
  others: ReadonlyMap<string, readonly number[]>,
  floor: number,
  to: number,
): Float64Array {
  const offsets: number[] = [];
  for (const [topic, found] of newest) {
    if (others.has(topic)) continue;
    for (const offset of used.get(topic)?.offsets(floor, to) ?? found) offsets.push(offset);
  }
  for (const found of others.values()) for (const offset of found) offsets.push(offset);
  return Float64Array.from(offsets).sort();
}

/** The newest record of each key of a topic whose first record lies above `after`, where memory begins at the latest. */
function keysBetween({ hot }: Pick<Log, 'hot'>, topic: string, after: number, to: number): number[] {
  const records: LogRecord[] = [];
  hot.read(after, to, filterSet([topic]), Number.POSITIVE_INFINITY, records);
  const newest = new Map<string | undefined, LogRecord>();
  for (const record of records) newest.set(record.key, record);
  return [...newest.values()]
    .filter(({ key, data }) => key === undefined || data.length > 0)
    .map(({ offset }) => offset);
}
