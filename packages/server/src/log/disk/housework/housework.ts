import type { EraseJob } from './erase-job.ts';
import type { IndexJob } from './index-job.ts';
import type { SweepHost, SweepJob, Swept } from './sweep-job.ts';

/**
 * The long work on complete segments. It only reads what is there and writes files under temporary names; to give them
 * their names, which is a matter of who owns the directory, is left to the log.
 */
export interface Housework {
  /** There will soon be something to do. */
  prepare(): void;
  /** Writes the index of a complete segment, read from its frames, and syncs it. Rejects with LogDamaged. */
  writeIndex(job: IndexJob): Promise<void>;
  /** Looks for what rules leave over, and offers each rewritten segment to the host. */
  sweep(job: SweepJob, host: SweepHost, stop: AbortSignal): Promise<Swept>;
  /** Offers the host the segment without what is deleted of some topics; false when it did not take that. */
  erase(job: EraseJob, host: SweepHost, stop: AbortSignal): Promise<boolean>;
  /** What is under way is given up. */
  close(): Promise<void>;
}

/** The thread that worked is gone: nothing that the log knows of has changed. */
export class HouseworkLost extends Error {
  override readonly name = 'HouseworkLost';
}
