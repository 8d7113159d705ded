import type { Clock } from '../../clock.ts';
import { type DoomedTopics, doomedIn } from '../deletion/doomed-topics.ts';
import type { DraftDisk } from '../files/disk.ts';
import { OpenFiles } from '../files/open-files.ts';
import { IndexCache } from '../index/index-cache.ts';
import { pauses } from '../index/index-writer.ts';
import { Gate } from '../read/gate.ts';
import { replaceSegment } from './replace-segment.ts';
import { type SegmentState, segmentOf } from './segment-state.ts';
import type { SweepHost } from './sweep-job.ts';

export interface EraseJob {
  readonly directory: string;
  /** See `SweepJob`. */
  readonly run: number;
  readonly segment: SegmentState;
  readonly topics: DoomedTopics;
}

/** The index of what is written; the source is read frame by frame. */
const cacheBytes = 64 * 1024;

export async function runEraseJob(
  disk: DraftDisk,
  clock: Clock,
  job: EraseJob,
  host: Pick<SweepHost, 'install'>,
  stop: AbortSignal,
): Promise<boolean> {
  const { directory, run, segment, topics } = job;
  const files = new OpenFiles(disk);
  const reading = { cache: new IndexCache(cacheBytes), gate: new Gate(1) };
  const checkStopped = (): void => stop.throwIfAborted();
  try {
    const source = segmentOf(files, directory, segment);
    const doomed = await doomedIn(source, topics, { reading, pause: pauses(clock), checkStopped });
    if (doomed.count === 0) return true;
    const parts = { disk, clock, directory, run, reading, checkStopped };
    return (await replaceSegment(parts, source, doomed, host)) !== source;
  } finally {
    await files.close();
  }
}
