// The log process: opens a log itself, without a server around it, and does one operation after another.
import { serve } from '../remote.ts';
import { type AppendsJob, type AppendsResult, appends } from './appends.ts';
import { type CatchUpJob, type CatchUpResult, catchUp } from './catch-up.ts';
import { type BuildJob, type BuildResult, build } from './history.ts';
import {
  type BackUpJob,
  backUp,
  closeHouse,
  type FurnishJob,
  furnish,
  type HouseResult,
  type KeepHouseJob,
  keepHouse,
  type OpenHouseJob,
  openHouse,
} from './housekeeping.ts';
import { type ResumeExactJob, type ResumeExactResult, resumeExact } from './resume-exact.ts';
import { type LeaveTailJob, leaveTail, type StartJob, type StartResult, start } from './start.ts';

/** What can be asked of the log process: name → job → result. */
export interface LogOperations {
  appends(job: AppendsJob): Promise<AppendsResult>;
  build(job: BuildJob): Promise<BuildResult>;
  leaveTail(job: LeaveTailJob): Promise<void>;
  start(job: StartJob): Promise<StartResult>;
  resumeExact(job: ResumeExactJob): Promise<ResumeExactResult>;
  catchUp(job: CatchUpJob): Promise<CatchUpResult>;
  furnish(job: FurnishJob): Promise<void>;
  openHouse(job: OpenHouseJob): Promise<void>;
  keepHouse(job: KeepHouseJob): Promise<HouseResult>;
  closeHouse(): Promise<void>;
  backUp(job: BackUpJob): Promise<void>;
}

// a profile is only written by a process that ends by itself
process.once('SIGTERM', () => process.exit());

serve<LogOperations>({
  appends,
  build,
  leaveTail,
  start,
  resumeExact,
  catchUp,
  furnish,
  openHouse,
  keepHouse,
  closeHouse,
  backUp,
});
