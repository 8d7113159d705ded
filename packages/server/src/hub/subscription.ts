import type { FilterSet } from '@tailrace/protocol';
import { type Dropped, nothingDropped } from '../log/index.ts';
import type { Cohort } from './cohort.ts';
import type { Snapshot } from './newest.ts';
import type { Session } from './session.ts';

/**
 * Filters and a cursor: the thing that reads.
 *
 * It either stands with its cohort and takes the cohort's passes (`index` ≥ 0, `offset` equal to the cohort's), or it
 * is apart (`index` −1) and reads on by its own cursor until it stands where the cohort stands.
 */
export class Subscription {
  readonly session: Session;
  readonly cohort: Cohort;
  /** Everything that matches up to here has been written to the outlet. Only kept up to date while apart. */
  offset: number;
  /** Time of the newest record at or below `offset`, ms. */
  time: number;
  /** Nothing that matches lies between `offset` and here, so reading on may begin here. */
  scanned: number;
  /** Place among the cohort's members, −1 while apart. */
  index = -1;
  /** Monotonic ms at which it fell behind its cohort; 0 while it never stood with it (a replay is not a lag). */
  behindSince = 0;
  /** Whether the next time it reaches its cohort is to be told by `live`. */
  owesLive = true;
  /** A read of the log below the hot tail is under way for it. */
  reading = false;
  /** What rules dropped, as far as it was told of it. */
  told: Dropped = nothingDropped;
  /** As long as it reads the newest of each topic, up to `to`: after `from=last`, or by the policy `last`. */
  snapshot: Snapshot | undefined = undefined;
  closed = false;

  constructor(session: Session, cohort: Cohort, offset: number, time: number) {
    this.session = session;
    this.cohort = cohort;
    this.offset = offset;
    this.time = time;
    this.scanned = offset;
  }

  /** Everything that matches up to `offset` has been written, or told as missing. */
  moveTo(offset: number, time: number): void {
    this.offset = offset;
    this.time = time;
    if (offset > this.scanned) this.scanned = offset;
  }

  /** Reading goes on there, which may lie before. */
  jumpTo(offset: number, time: number): void {
    this.offset = offset;
    this.time = time;
    this.scanned = offset;
  }

  /** Its label; the cohort's, since those of one cohort share it. */
  get sub(): string {
    return this.cohort.sub;
  }

  get filters(): FilterSet {
    return this.cohort.filters;
  }

  /** Whether others of its cohort read on by themselves too. */
  get hasCompany(): boolean {
    return this.cohort.apart.size > 1;
  }
}
