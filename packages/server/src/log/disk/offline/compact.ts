import type { DedupeOptions, KeepOptions } from '../../options.ts';
import type { LogReport } from '../../report.ts';
import type { Disk } from '../files/disk.ts';
import { nodeDisk } from '../files/node-disk.ts';
import { openDiskLog } from '../open-disk-log.ts';

export interface CompactOptions {
  readonly keep: KeepOptions;
  /** Records that the next start needs to recognise repeated publishes stay. */
  readonly dedupe?: DedupeOptions | undefined;
  /** Memory for what is known of newer records. */
  readonly tableBytes?: number | undefined;
  readonly disk?: Disk | undefined;
  readonly onReport?: ((report: LogReport) => void) | undefined;
}

export interface LogSize {
  readonly segments: number;
  readonly bytes: number;
}

export interface CompactReport {
  readonly before: LogSize;
  readonly after: LogSize;
  /** Segments written anew, and the records that went. */
  readonly rewritten: number;
  readonly records: number;
  /** Records that rules let go of and that stay for de-duplication. */
  readonly keptForDedupe: number;
}

/** Rewrites every segment of a log of which something may go by the rules. The server must not run. */
export async function compact(
  directory: string,
  { keep, dedupe, tableBytes: keyIndexBytes, disk = nodeDisk, onReport }: CompactOptions,
): Promise<CompactReport> {
  const log = await openDiskLog({ directory, disk, keep, dedupe, keyIndexBytes, onReport });
  try {
    const { segments, bytes } = log.status;
    const done = await log.compact();
    return {
      before: { segments, bytes },
      after: { segments: log.status.segments, bytes: log.status.bytes },
      rewritten: done.segments,
      records: done.records,
      keptForDedupe: done.keptForDedupe,
    };
  } finally {
    await log.close();
  }
}
