import {
  type Cursor,
  cursorPrefix,
  cursorSuffix,
  type FilterSet,
  formatCursor,
  isPartitioned,
  type PartitionedCursor,
  parseCursor,
  parsePartitionedCursor,
} from '@tailrace/protocol';
import type { Appended, Log, Position } from './log.ts';

/** A point of the log, as the log counts; its time is that of the newest record up to there. */
export type Place = Pick<Position, 'offset' | 'time'>;

/** Cursor tokens of one log: what clients hold of its places (§3). */
export interface Tokens {
  /** They are short enough for each event to carry one. */
  readonly short: boolean;
  /** The token of the position `offset`, whose newest record has the time `time` (ms). */
  of(offset: number, time: number): string;
  /** The token that the publisher of a record gets. */
  ofAppended(appended: Omit<Appended, 'duplicate'>): string;
  /** The same as `of` in the middle of a snapshot as of `to`, for who reads it by requests of their own. */
  within(offset: number, time: number, to: number): string;
  /** The same as `of` for who polls and was told of what is dropped up to `told`. */
  behindGap(offset: number, time: number, told: number): string;
  /**
   * What a token means now for who reads `filters`; at once where it can. Throws `cursor_invalid` for what no server can
   * have made.
   */
  resolve(token: string, filters?: FilterSet): Resolved | Promise<Resolved>;
  /** The log has gone back, or on in another epoch: offsets may be of other epochs than it said. */
  forget(): void;
}

/** What a cursor means in the log as it is now. */
export type Resolved = Fitting | Misfit;

export interface Fitting {
  readonly fits: true;
  readonly at: Place;
  /** Nothing behind it was given up as lost. */
  readonly whole: boolean;
  /** It is in the middle of a snapshot as of this offset. */
  readonly snapshot: number | undefined;
  /** A gap up to here was told with it. */
  readonly told: number | undefined;
}

/** A cursor of another log, of an epoch that ended before it, or beyond the head. */
export interface Misfit {
  readonly fits: false;
  readonly reason: 'epoch' | 'ahead';
  /** The last point up to which its epoch is this log; undefined when the log never had that epoch. */
  readonly lastGood: number | undefined;
  /** Of the cursor, ms. */
  readonly time: number;
}

/** Of a log of one partition. The half of a token that names log and epoch is kept, since nearly all share it. */
export class PlainTokens implements Tokens {
  readonly short = true;
  readonly #log: Log;
  #prefix = '';
  // offsets in [#from, #to) belong to the epoch of #prefix
  #from = 1;
  #to = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  of(offset: number, time: number): string {
    if (offset < this.#from || offset >= this.#to) this.#aim(offset);
    return this.#prefix + cursorSuffix(offset, time);
  }

  ofAppended({ offset, time }: Omit<Appended, 'duplicate'>): string {
    return this.of(offset, time);
  }

  within(offset: number, time: number, to: number): string {
    return formatCursor({ log: this.#log.id, epoch: this.#log.epochOf(to), offset, time, snapshot: to });
  }

  behindGap(offset: number, time: number, told: number): string {
    return `${this.of(offset, time)}.t${told}`;
  }

  resolve(token: string): Resolved | Promise<Resolved> {
    const cursor = isPartitioned(token) ? ofFirst(parsePartitionedCursor(token)) : parseCursor(token);
    if (cursor.epoch === undefined) return foreign(cursor);
    const now = this.#judge(cursor);
    if (now.fits || cursor.log !== this.#log.id) return now;
    return this.#log.upToDate()?.then(() => this.#judge(cursor)) ?? now;
  }

  #judge({ log: id, epoch, offset, time, snapshot, told }: Cursor): Resolved {
    const log = this.#log;
    const end = id === log.id ? log.endOf(epoch) : undefined;
    if (end === undefined || offset > end) {
      const running = id === log.id && epoch === log.epochOf(log.head.offset + 1);
      return { fits: false, reason: running ? 'ahead' : 'epoch', lastGood: end, time };
    }
    return {
      fits: true,
      at: { offset, time: timeOf(log, { offset, time }) },
      whole: !log.lost.some(range => range.to > offset),
      snapshot: snapshot !== undefined && snapshot <= end ? snapshot : undefined,
      told,
    };
  }

  forget(): void {
    this.#from = 1;
    this.#to = 0;
  }

  #aim(offset: number): void {
    const epoch = this.#log.epochOf(offset);
    this.#prefix = cursorPrefix(this.#log.id, epoch);
    this.#from = offset;
    const end = this.#log.endOf(epoch);
    // not the head's own epoch: until the first append after a start the head is still of an earlier one
    const running = this.#log.epochOf(this.#log.head.offset + 1) === epoch;
    this.#to = running ? Number.POSITIVE_INFINITY : (end ?? offset) + 1;
  }
}

/** What is said of the partition that was there already before others were bridged beside it. */
function ofFirst({ log, time, entries, snapshot }: PartitionedCursor): Cursor | { time: number; epoch: undefined } {
  const [first] = entries;
  if (first?.partition !== 0 || (snapshot !== undefined && snapshot.partition !== 0)) return { time, epoch: undefined };
  const { epoch, offset } = first;
  return { log, epoch, time, offset: snapshot?.offset ?? offset, ...(snapshot && { snapshot: offset }) };
}

/** A cursor of another log: only its time means something. */
export function foreign({ time }: { readonly time: number }): Misfit {
  return { fits: false, reason: 'epoch', lastGood: undefined, time };
}

/** The log's own time of a position: the token's would be given back as it came. Below the hot tail it is taken at its word. */
function timeOf(log: Log, { offset, time }: Place): number {
  return offset === log.head.offset ? log.head.time : (log.hot.timeAt(offset) ?? time);
}
