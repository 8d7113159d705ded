import type { Log, Position } from './log.ts';
import type { LogRecord } from './record.ts';
import type { OffsetRange } from './report.ts';

/** What a place of a log leads to: where its offsets are one sequence that is plain, otherwise whoever counts them says. */
export interface Places {
  /**
   * What is looked up record by record (`newest`, `current`, `keyAt`) has the offsets of the log itself: what replaces it
   * lies behind it.
   */
  readonly inOrder: boolean;
  /** The offset of a record where it is looked up so. */
  lookupOf(record: LogRecord): number;
  /** Of such offsets those beyond what one has read who stands at `place`. */
  beyond(offsets: Float64Array, place: number): Float64Array;
  /** Whether retention has removed something of what follows `offset`. */
  isTrimmed(offset: number): boolean;
  /** Whether it stands where retention has removed what came before, as far as that may have had a time ≥ `since` (ms). */
  isAtFloor(offset: number, since?: number): boolean;
  /** Where the last stretch ends of what is lost for good in (after, to]; undefined when nothing is. */
  lostBetween(after: number, to: number): number | undefined;
  /** Where reading goes on for who stands at `offset`, of which that is so. */
  behindTrimmed(offset: number): Promise<Position>;
  /** Where one stands who has read up to the record that clients know by `offset`; 0 for who has read nothing. Throws `bad_request`. */
  beginning(offset: number): Promise<Position>;
  /** The same stretch of the log as (from, to], for who reads no further. */
  between(from: number, to: number): readonly [from: number, to: number];
  /** Whether who stands at `place` has read up to the record of `topic` that clients know by `offset`. */
  hasPassed(place: number, topic: string, offset: number): boolean;
  /** Where a stretch of about `count` offsets begins that ends at `end`, not before `from`; none of a part that is gone. */
  stepBack(from: number, end: number, count: number): number;
}

/** Whether nothing is left of a log of which all is known to be older than `since`. */
export function endedBefore({ floor, head }: Pick<Log, 'floor' | 'head'>, since: number): boolean {
  return head.offset <= floor && head.time < since;
}

/** Where the last of the stretches ends that lie in (after, to]. */
export function lostBetween(lost: readonly OffsetRange[], after: number, to: number): number | undefined {
  return lost.findLast(range => range.to > after && range.from <= to)?.to;
}

export class PlainPlaces implements Places {
  readonly inOrder = true;
  readonly #log: Pick<Log, 'floor' | 'head' | 'lost' | 'positionOf'>;

  constructor(log: Pick<Log, 'floor' | 'head' | 'lost' | 'positionOf'>) {
    this.#log = log;
  }

  lookupOf({ offset }: LogRecord): number {
    return offset;
  }

  beyond(offsets: Float64Array, place: number): Float64Array {
    return offsets.filter(offset => offset > place);
  }

  isTrimmed(offset: number): boolean {
    return offset < this.#log.floor;
  }

  isAtFloor(offset: number, since = 0): boolean {
    const { floor } = this.#log;
    return floor > 0 && offset <= floor && !endedBefore(this.#log, since);
  }

  lostBetween(after: number, to: number): number | undefined {
    return lostBetween(this.#log.lost, after, to);
  }

  behindTrimmed(): Promise<Position> {
    return this.#log.positionOf(this.#log.floor);
  }

  beginning(offset: number): Promise<Position> {
    return this.#log.positionOf(Math.min(offset, this.#log.head.offset));
  }

  between(from: number, to: number): readonly [number, number] {
    return [from, to];
  }

  hasPassed(place: number, _: string, offset: number): boolean {
    return offset <= place;
  }

  stepBack(from: number, end: number, count: number): number {
    return Math.max(from, this.#log.floor, end - count);
  }
}
