import type { Clock } from '../../clock.ts';
import type { DraftDisk } from '../files/disk.ts';
import { type EraseJob, runEraseJob } from './erase-job.ts';
import type { Housework } from './housework.ts';
import { type IndexJob, runIndexJob } from './index-job.ts';
import { runSweepJob, type SweepHost, type SweepJob, type Swept } from './sweep-job.ts';

/** Housework between the other work of this thread: for disks that are no other thread's. */
export class HouseworkHere implements Housework {
  readonly #disk: DraftDisk;
  readonly #clock: Clock;

  constructor(disk: DraftDisk, clock: Clock) {
    this.#disk = disk;
    this.#clock = clock;
  }

  prepare(): void {}

  writeIndex(job: IndexJob): Promise<void> {
    return runIndexJob(this.#disk, this.#clock, job);
  }

  sweep(job: SweepJob, host: SweepHost, stop: AbortSignal): Promise<Swept> {
    return runSweepJob(this.#disk, this.#clock, job, host, stop);
  }

  erase(job: EraseJob, host: SweepHost, stop: AbortSignal): Promise<boolean> {
    return runEraseJob(this.#disk, this.#clock, job, host, stop);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
