import type { Clock } from '../clock.ts';
import type { EpochList } from '../epoch-list.ts';
import type { LogReport, OffsetRange } from '../report.ts';
import type { FoundDeletions } from './deletion/deletions-file.ts';
import type { DiskLogOptions } from './disk-log-options.ts';
import type { Disk, Ownership } from './files/disk.ts';
import type { Identity } from './files/identity.ts';
import type { OpenFiles } from './files/open-files.ts';
import type { StartRecord } from './files/start-record.ts';
import type { Housework } from './housework/housework.ts';
import type { IndexReading } from './index/sealed-index.ts';
import type { Reader } from './read/reader.ts';
import type { Recovered } from './recovery/recovery.ts';
import type { SegmentList } from './segment/segment-list.ts';

/** What opening a log leads to: recovered files, and what they are read through. */
export interface OpenedLog {
  readonly options: DiskLogOptions;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly report: (report: LogReport) => void;
  readonly ownership: Ownership;
  readonly identity: Identity;
  /** With the epoch that begins now. */
  readonly epochs: EpochList;
  readonly start: StartRecord;
  readonly recovered: Recovered;
  readonly files: OpenFiles;
  /** The recovered ones, and those that come. */
  readonly segments: SegmentList;
  readonly reader: Reader;
  readonly reading: IndexReading;
  readonly housework: Housework;
  readonly lost: readonly OffsetRange[];
  /** Deletions that an earlier start was asked for and did not finish. */
  readonly deletions: FoundDeletions;
}
