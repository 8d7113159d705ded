import {
  cursorTokenMaxBytes,
  type FilterSet,
  formatPartitionedCursor,
  isPartitioned,
  type PartitionEntry,
  type PartitionedCursor,
  parseCursor,
  parsePartitionedCursor,
} from '@tailrace/protocol';
import type { Appended } from '../log.ts';
import { type Fitting, foreign, type Misfit, type Resolved, type Tokens } from '../tokens.ts';
import type { WovenMap } from './map.ts';
import { addressOf, isAddress, placeOfAddress, type Vector } from './numbering.ts';
import type { PartitionNames } from './partition-names.ts';
import { bridgedFrom, type Spread } from './spread.ts';

/**
 * How much earlier a partition is read that a cursor does not name, ms: records of several partitions do not come in the
 * order of their times.
 */
const timeMargin = 10_000;

/** What was made last is asked for again by who reads on. */
const keptMax = 64;

/** What an entry of a token takes at most: a token with less room than that may have left some out. */
const entryMost = 48;

export interface WovenTokensParts {
  readonly map: WovenMap;
  readonly names: PartitionNames;
  readonly spread: Spread;
  /** Of the log. */
  readonly id: () => string;
  /** See `Log.upToDate`. */
  readonly upToDate: () => Promise<void> | undefined;
  /** ms of the newest record at or below a place, as far as that is known; else of the token. */
  readonly timeAt: (place: number, time: number) => number;
}

/** A token with partitions as this log counts them. */
interface Named extends Omit<PartitionedCursor, 'entries'> {
  /** `epoch` is undefined when the token does not mean what this log has there. */
  readonly entries: readonly {
    readonly partition: number;
    readonly epoch: number | undefined;
    readonly offset: number;
  }[];
  /** Partitions of which it could not know: they are read from their beginning. */
  readonly grown: readonly number[];
}

interface Judged {
  readonly vector: Vector;
  readonly reason: Misfit['reason'] | undefined;
}

/** Tokens that name one offset for each partition. */
export class WovenTokens implements Tokens {
  readonly short = false;
  readonly #parts: WovenTokensParts;
  readonly #kept = new Map<string, string>();

  constructor(parts: WovenTokensParts) {
    this.#parts = parts;
  }

  of(offset: number, time: number): string {
    const key = `${offset} ${time}`;
    let token = this.#kept.get(key);
    if (token === undefined) {
      const { map } = this.#parts;
      // on a strand some partitions are read far ahead of others
      const passed = Math.min(time, map.strandAt(offset)?.time ?? time);
      token = this.#format(passed, this.#entriesAt(offset));
      if (this.#kept.size >= keptMax) this.#kept.clear();
      this.#kept.set(key, token);
    }
    return token;
  }

  ofAppended({ offset, time, partition = 0 }: Omit<Appended, 'duplicate'>): string {
    return this.#format(time, [this.#entry(partition, offset)]);
  }

  within(offset: number, time: number, to: number): string {
    const at = placeOfAddress(offset);
    const partition = this.#parts.names.numberOf(at.partition);
    return this.#format(time, this.#entriesAt(to), { partition, offset: at.offset });
  }

  behindGap(offset: number, time: number): string {
    return this.of(offset, time);
  }

  forget(): void {
    this.#kept.clear();
  }

  resolve(token: string, filters?: FilterSet): Resolved | Promise<Resolved> {
    const cursor = this.#read(token);
    if ('fits' in cursor) return cursor;
    const judged = this.#judge(cursor, filters);
    const fresh = judged.reason === undefined ? undefined : this.#parts.upToDate();
    if (fresh !== undefined) return fresh.then(() => this.#resolved(cursor, this.#judge(cursor, filters)));
    return this.#resolved(cursor, judged);
  }

  /** What a token says of the partitions here; a misfit when that is nothing. */
  #read(token: string): Named | Misfit {
    const { names, spread, id } = this.#parts;
    const cursor = isPartitioned(token) ? parsePartitionedCursor(token) : this.#ofPlain(token);
    const isOurs = cursor.log === id();
    const entries: Named['entries'][number][] = [];
    const bridged: number[] = [];
    for (const { partition: number, epoch, offset } of cursor.entries) {
      const partition = names.partitionOf(number);
      const isBridged = partition !== undefined && names.isBridged(partition);
      if (isBridged) bridged.push(number);
      // what is bridged is the same for every log
      if (isBridged) entries.push({ partition, epoch: names.epochOf(partition, epoch), offset });
      else if (isOurs && partition !== undefined) entries.push({ partition, epoch, offset });
      else if (isOurs && number < bridgedFrom) return foreign(cursor);
    }
    if (!isOurs) {
      if (bridged.length === 0) return foreign(cursor);
      for (let own = spread.own - 1; own >= 0; own--) entries.unshift({ partition: own, epoch: undefined, offset: -1 });
    }
    const isWhole = token.length + entryMost < cursorTokenMaxBytes;
    const snapshot = cursor.snapshot && {
      partition: names.partitionOf(cursor.snapshot.partition),
      offset: cursor.snapshot.offset,
    };
    if (snapshot !== undefined && snapshot.partition === undefined) return foreign(cursor);
    return {
      ...cursor,
      entries,
      snapshot: snapshot as PartitionedCursor['snapshot'],
      grown: isWhole ? names.grown(bridged) : [],
    };
  }

  /** One that was made when nothing was bridged yet. */
  #ofPlain(token: string): PartitionedCursor {
    const { log, epoch, offset, time, snapshot } = parseCursor(token);
    if (this.#parts.spread.own > 1) return { log: '', time, entries: [] };
    return {
      ...{ log, time, entries: [{ partition: 0, epoch, offset: snapshot ?? offset }] },
      ...(snapshot === undefined ? {} : { snapshot: { partition: 0, offset } }),
    };
  }

  /**
   * As far as each partition named still is what the cursor meant; −1 for those to be read by its time. A partition in
   * which nothing of `filters` can be is no reason.
   */
  #judge(cursor: Named, filters: FilterSet | undefined): Judged {
    const { map, names, spread } = this.#parts;
    const { partitions } = map;
    const asked = filters && new Set(spread.partitionsFor(filters));
    const vector = new Float64Array(partitions.length).fill(-1);
    let reason: Misfit['reason'] | undefined;
    for (const partition of cursor.grown) vector[partition] = 0;
    for (const { partition, epoch, offset } of cursor.entries) {
      const log = partitions[partition]!;
      const end = epoch === undefined ? undefined : log.endOf(epoch);
      if (end !== undefined) vector[partition] = Math.min(offset, end);
      if (end !== undefined && offset <= end) continue;
      // of what was made anew nothing has been read
      if (epoch === undefined && names.isBridged(partition)) vector[partition] = 0;
      if (asked?.has(partition) === false) continue;
      const running = epoch === log.epochOf(log.head.offset + 1);
      reason = reason !== 'epoch' && running ? 'ahead' : 'epoch';
    }
    return { vector, reason };
  }

  #resolved(cursor: Named, { vector, reason }: Judged): Resolved | Promise<Resolved> {
    if (!vector.includes(-1)) return this.#placed(cursor, vector, reason);
    return this.#byTime(cursor.time, vector).then(() => this.#placed(cursor, vector, reason));
  }

  /** Fills in where those stand that are not named. */
  async #byTime(time: number, vector: Vector): Promise<void> {
    const { partitions } = this.#parts.map;
    await Promise.all(
      partitions.map(async (log, p) => {
        if (vector[p] !== -1) return;
        const since = Math.max(0, time - timeMargin);
        const { offset } = await log.positionAt(since);
        // where all is gone that came before, it may have come since; of the newest it is known
        const { floor, head } = log;
        const isTrimmed = floor > 0 && offset <= floor && !(head.offset <= floor && head.time < since);
        vector[p] = isTrimmed ? Math.max(0, floor - 1) : offset;
      }),
    );
  }

  #placed(cursor: Named, vector: Vector, reason: Judged['reason']): Fitting | Misfit {
    const { map, timeAt } = this.#parts;
    const { snapshot, time } = cursor;
    if (reason !== undefined) {
      const lastGood = map.placeOf(snapshot === undefined ? vector : readOf(vector, snapshot), time);
      return { fits: false, reason, lastGood, time };
    }
    const place = map.placeOf(vector, time);
    return {
      fits: true,
      at:
        snapshot === undefined
          ? { offset: place, time: timeAt(place, time) }
          : { offset: addressOf(snapshot.partition, snapshot.offset), time },
      whole: !map.partitions.some(({ lost }, p) => lost.some(range => range.to > vector[p]!)),
      snapshot: snapshot === undefined ? undefined : place,
      told: undefined,
    };
  }

  /** Who walks over addresses has had nothing that is left of the partitions behind, and of those before what there was at that time. */
  #entriesAt(place: number): PartitionEntry[] {
    const { map } = this.#parts;
    const first = isAddress(place) ? placeOfAddress(place).partition : 0;
    const vector = map.vectorAt(place);
    const entries: PartitionEntry[] = [];
    const isWalk = isAddress(place);
    for (let p = first; p < vector.length; p++)
      entries.push(this.#entry(p, isWalk && p > first ? map.partitions[p]!.floor : vector[p]!));
    return entries;
  }

  /** As cursors name it. */
  #entry(partition: number, offset: number): PartitionEntry {
    const { map, names } = this.#parts;
    const epoch = names.epochNamed(partition, map.partitions[partition]!.epochOf(offset));
    return { partition: names.numberOf(partition), epoch, offset };
  }

  #format(time: number, entries: readonly PartitionEntry[], snapshot?: PartitionedCursor['snapshot']): string {
    return formatPartitionedCursor({ log: this.#parts.id(), time, entries, ...(snapshot && { snapshot }) });
  }
}

/** What of a snapshot as of `vector` has been read, partition by partition, up to a record. */
function readOf(vector: Vector, { partition, offset }: NonNullable<PartitionedCursor['snapshot']>): Vector {
  return vector.map((upTo, p) => (p < partition ? upTo : p === partition ? Math.min(upTo, offset) : 0));
}
