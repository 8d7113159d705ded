import type { Clock } from '../../clock.ts';
import type { KeepOptions } from '../../options.ts';
import type { Doomed } from '../compaction/doomed.ts';
import { Sweep } from '../compaction/sweep.ts';
import type { DraftDisk } from '../files/disk.ts';
import { OpenFiles } from '../files/open-files.ts';
import { IndexCache } from '../index/index-cache.ts';
import { indexFrames } from '../index/index-segment.ts';
import { pauses } from '../index/index-writer.ts';
import { SealedIndex } from '../index/sealed-index.ts';
import type { SegmentIndex } from '../index/segment-index.ts';
import { Gate } from '../read/gate.ts';
import type { Segment } from '../segment/segment.ts';
import { replaceSegment } from './replace-segment.ts';
import { type SegmentState, segmentOf } from './segment-state.ts';

export interface SweepJob {
  readonly directory: string;
  /** In the names of temporary files: an owner that was replaced must not take those of the new one for its own. */
  readonly run: number;
  readonly secret: Uint8Array;
  readonly options: KeepOptions;
  /** Memory for what is known of newer records. */
  readonly tableBytes: number;
  /** Share of a segment that must go for it to be rewritten. */
  readonly share: number;
  /** All of the log, oldest first. */
  readonly segments: readonly SegmentState[];
}

/** A generation that is whole and synced, and waits under temporary names. */
export interface RewrittenSegment {
  /** Name of the segment it is to replace. */
  readonly source: string;
  readonly segment: SegmentState;
  readonly temporary: string;
  /** Undefined when it has no records left. */
  readonly temporaryIndex: string | undefined;
  /** Records that are gone. */
  readonly dropped: number;
}

/** What may go of a segment: `unremembered` is all but the records that de-duplication needs at the next start. */
export type MayDrop = 'nothing' | 'unremembered' | 'everything';

export interface Swept {
  /** Records that rules let go of and that stay for de-duplication. */
  readonly keptForDedupe: number;
  /** Deletions that are old enough and stayed for something older of their key, which may have gone in the same sweep. */
  readonly waitingDeletions: number;
}

/** The log, as a sweep sees it: what the segments are is decided there. */
export interface SweepHost {
  /** Whether the segment is still part of the log: retention may have taken it away meanwhile. */
  isThere(segment: string): Promise<boolean>;
  mayDrop(segment: string): Promise<MayDrop>;
  /** A segment could not be read. */
  unreadable(met: { readonly segment: string; readonly why: string }): Promise<void>;
  /** Puts it in the place of its source, and removes that one; false when it is no longer wanted. */
  install(rewritten: RewrittenSegment): Promise<boolean>;
}

/** Nothing is read twice but the way to the blocks of a directory. */
const cacheBytes = 1024 * 1024;

export async function runSweepJob(
  disk: DraftDisk,
  clock: Clock,
  job: SweepJob,
  host: SweepHost,
  stop: AbortSignal,
): Promise<Swept> {
  const { directory, run, secret, options, tableBytes, share } = job;
  const files = new OpenFiles(disk);
  const reading = { cache: new IndexCache(cacheBytes), gate: new Gate(1) };
  const checkStopped = (): void => stop.throwIfAborted();
  const rewrite = async (source: Segment, doomed: Doomed): Promise<Segment> => {
    if (doomed.bytes < share * (source.end - source.header.framesAt)) return source;
    return replaceSegment({ disk, clock, directory, run, reading, checkStopped }, source, doomed, host);
  };
  try {
    const openIndex = async (segment: Segment): Promise<SegmentIndex> => {
      const state = job.segments.find(({ header }) => header === segment.header);
      if (state === undefined || state.indexed) return SealedIndex.open(segment, reading);
      await indexFrames(segment, reading.gate, pauses(clock), state?.topics);
      return segment.index;
    };
    const parts = { clock, reading, secret, options, tableBytes, checkStopped, host, openIndex, rewrite };
    return await new Sweep(
      parts,
      job.segments.map(state => segmentOf(files, directory, state)),
    ).run();
  } finally {
    await files.close();
  }
}
