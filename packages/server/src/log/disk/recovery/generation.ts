import * as path from 'node:path';
import { marksOf } from '../compaction/marks.ts';
import { type Disk, errorCode } from '../files/disk.ts';
import { type EpochsFile, lossWasAccepted } from '../files/epochs-file.ts';
import type { Identity } from '../files/identity.ts';
import type { OpenFiles } from '../files/open-files.ts';
import { IndexCache } from '../index/index-cache.ts';
import { Gate } from '../read/gate.ts';
import { LogDamaged } from '../segment/damage.ts';
import { readAll, readHeader } from '../segment/read-segment.ts';
import { endOfScan, scanSegment } from '../segment/scan.ts';
import { Segment } from '../segment/segment.ts';
import type { SegmentHeader } from '../segment/segment-header.ts';
import { type SegmentName, segmentGenerations } from '../segment/segment-name.ts';

export interface GenerationParts {
  readonly disk: Disk;
  readonly files: OpenFiles;
  readonly directory: string;
  /** Undefined when it cannot be read. */
  readonly identity: Identity | undefined;
  readonly epochs: EpochsFile | undefined;
}

export const notFitting = 'the segment header does not fit the file name or the log';

/** Whether the file is what its name says, of this log. */
export function belongs(identity: Identity | undefined, header: SegmentHeader, name: SegmentName): boolean {
  return (
    header.firstOffset === name.firstOffset &&
    header.generation === name.generation &&
    (identity === undefined || (header.logId === identity.id && Buffer.compare(header.secret, identity.secret) === 0))
  );
}

/** Reads all of a file; undefined when every frame is there up to what follows it. */
export async function whatIsBroken(
  { disk, files, directory, identity, epochs }: GenerationParts,
  name: SegmentName,
  next: SegmentName | undefined,
): Promise<string | undefined> {
  const file = path.join(directory, name.name);
  try {
    const header = await readHeader(disk, file);
    if (typeof header === 'string') return header;
    if (!belongs(identity, header, name)) return notFitting;
    const scan = scanSegment(await readAll(disk, file), header);
    let needed = Math.max(scan.durable, header.rewritten?.lastOffset ?? header.firstOffset);
    if (next !== undefined) {
      needed = Math.min(needed, next.firstOffset - 1);
      if (!lossWasAccepted(epochs, scan.last + 1, next.firstOffset - 1)) needed = next.firstOffset - 1;
    }
    if (scan.bad !== undefined || scan.last < needed) return endOfScan(scan).what;
    const segment = new Segment(files, directory, header);
    if (header.rewritten !== undefined)
      // reading a block checks it
      for await (const _ of marksOf(segment, { cache: new IndexCache(), gate: new Gate(1) }));
    return undefined;
  } catch (error) {
    if (error instanceof LogDamaged) return error.damages.map(({ what }) => what).join(', ');
    if (errorCode(error) === 'EIO') return 'the disk cannot read it (EIO)';
    throw error;
  } finally {
    await files.forget(file);
  }
}

/** The segments that are read of those in a directory. */
export interface TakenSegments {
  readonly segments: readonly SegmentName[];
  /** Newest generations that are broken, in whose place an older one is read that is whole. */
  readonly passedOver: readonly { readonly name: SegmentName; readonly what: string; readonly whole: SegmentName }[];
}

/** Of each segment the generation that a start goes on with once loss is accepted: the newest that is whole, else the newest. */
export async function takenSegments(parts: GenerationParts, names: readonly string[]): Promise<TakenSegments> {
  const all = segmentGenerations(names);
  const segments: SegmentName[] = [];
  const passedOver: TakenSegments['passedOver'][number][] = [];
  for (const [i, [newest, ...older]] of all.entries()) {
    segments.push(newest);
    if (older.length === 0) continue;
    const next = all[i + 1]?.[0];
    const what = await whatIsBroken(parts, newest, next);
    if (what === undefined) continue;
    for (const whole of older) {
      if ((await whatIsBroken(parts, whole, next)) !== undefined) continue;
      segments[i] = whole;
      passedOver.push({ name: newest, what, whole });
      break;
    }
  }
  return { segments, passedOver };
}

export function describePassedOver({ name, what, whole }: TakenSegments['passedOver'][number]): string {
  return `${name.name} is broken (${what}); ${whole.name}, which it was to replace, is whole and is read instead`;
}
