import type { FilterSet } from '@tailrace/protocol';
import type { LogRecord } from '../log/index.ts';
import type { Cohort } from './cohort.ts';
import type { Session } from './session.ts';

export interface Snapshot {
  readonly records: readonly LogRecord[];
  /** How many of them have been written. */
  at: number;
  readonly to: number;
  readonly toTime: number;
}

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
  /** Place among the cohort's members, −1 while apart. */
  index = -1;
  /** Monotonic ms at which it fell behind its cohort; 0 while it never stood with it (a replay is not a lag). */
  behindSince = 0;
  /** Whether the next time it reaches its cohort is to be told by `live`. */
  owesLive = true;
  /** A read of the log below the hot tail is under way for it. */
  reading = false;
  /** Newest records to deliver before reading on from `to`: `from=last`, or the policy `last`. */
  snapshot: Snapshot | undefined = undefined;
  /** How many of its exact topics have ended. */
  endedTopics = 0;
  closed = false;

  constructor(session: Session, cohort: Cohort, offset: number, time: number) {
    this.session = session;
    this.cohort = cohort;
    this.offset = offset;
    this.time = time;
  }

  /** Its label; the cohort's, since those of one cohort share it. */
  get sub(): string {
    return this.cohort.sub;
  }

  get filters(): FilterSet {
    return this.cohort.filters;
  }
}
