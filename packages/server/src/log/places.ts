import type { Log, Position } from './log.ts';

/** What a place of a log leads to: where its offsets are one sequence that is plain, otherwise whoever counts them says. */
export interface Places {
  /** Whether retention has removed something of what follows `offset`. */
  isTrimmed(offset: number): boolean;
  /** Whether it stands where retention has removed what came before. */
  isAtFloor(offset: number): boolean;
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

export class PlainPlaces implements Places {
  readonly #log: Pick<Log, 'floor' | 'head' | 'positionOf'>;

  constructor(log: Pick<Log, 'floor' | 'head' | 'positionOf'>) {
    this.#log = log;
  }

  isTrimmed(offset: number): boolean {
    return offset < this.#log.floor;
  }

  isAtFloor(offset: number): boolean {
    const { floor } = this.#log;
    return floor > 0 && offset <= floor;
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
