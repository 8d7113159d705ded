import type { Clock } from '../../clock.ts';
import type { DraftDisk } from '../files/disk.ts';
import { OpenFiles } from '../files/open-files.ts';
import { indexFrames } from '../index/index-segment.ts';
import { pauses, writeIndexTo } from '../index/index-writer.ts';
import { Gate } from '../read/gate.ts';
import { readDamage } from '../segment/segment-bytes.ts';
import { type SegmentState, segmentOf } from './segment-state.ts';

export interface IndexJob {
  readonly directory: string;
  readonly segment: SegmentState;
  /** Where the index is written. */
  readonly temporary: string;
}

export async function runIndexJob(disk: DraftDisk, clock: Clock, job: IndexJob): Promise<void> {
  const { directory, segment: known, temporary } = job;
  const files = new OpenFiles(disk);
  try {
    const segment = segmentOf(files, directory, known);
    await indexFrames(segment, new Gate(1), pauses(clock), known.topics);
    // what is on disk must be what was committed: the index will vouch for it
    if (
      segment.lastOffset !== known.lastOffset ||
      segment.records !== known.records ||
      segment.lastCrc !== known.lastCrc
    )
      throw readDamage(segment, { offset: segment.lastOffset + 1, what: 'the frames are not those that were written' });
    await writeIndexTo(disk, clock, segment, temporary);
  } finally {
    await files.close();
  }
}
