import * as path from 'node:path';
import type { Clock } from '../../clock.ts';
import { laterDropped } from '../../log.ts';
import { Batch } from '../commit/batch.ts';
import { BatchSpace, batchBytes } from '../commit/batch-space.ts';
import { type Disk, type DiskFile, type DraftDisk, ignoreMissing } from '../files/disk.ts';
import { giveName, writeTemporary } from '../files/replace-file.ts';
import { installIndex, type Pause, pauses, sortInSlices, syncBytes, writeIndexTo } from '../index/index-writer.ts';
import { type IndexReading, SealedIndex } from '../index/sealed-index.ts';
import { ChunkMemory } from '../segment/chunk-memory.ts';
import { finishFrame, frameHeaderBytes, writeFrame } from '../segment/frame.ts';
import { chunkBytes, FrameReader } from '../segment/frame-reader.ts';
import { readHeader } from '../segment/read-segment.ts';
import { decodeRecord, recordLength } from '../segment/record-codec.ts';
import { Segment } from '../segment/segment.ts';
import { encodeSegmentHeader, type SegmentHeader, segmentHeaderBytes, segmentSeed } from '../segment/segment-header.ts';
import type { Doomed } from './doomed.ts';
import { MarkWriter, marksOf } from './marks.ts';

export interface RewriteParts {
  readonly disk: DraftDisk;
  readonly clock: Clock;
  readonly directory: string;
  /** In the names of temporary files: an owner that was replaced must not take those of the new one for its own. */
  readonly run: number;
  readonly reading: IndexReading;
  /** Throws when the log is being closed. */
  readonly checkStopped: () => void;
}

/** A generation that is whole and synced, and waits under a temporary name. */
export interface Rewrite {
  readonly segment: Segment;
  readonly temporary: string;
  /** Undefined when it has no records left. */
  readonly temporaryIndex: string | undefined;
}

/** Written at once: a commit beside it hardly notices. */
const writeBytes = batchBytes / 4;

/**
 * Writes the next generation of a sealed segment, without the records that are doomed. It gets its name only when it is
 * whole and synced and has an index, so whichever of the two generations a start finds can be trusted:
 *
 *   `.log` and `.idx` written under temporary names, synced ─▶ `.idx` renamed, then `.log` ─▶ swapped in memory, old unlinked
 *   └──────── a start removes both ────────────────────────────────────────────┘          └── a start removes the old one ──┘
 */
export async function rewriteSegment(parts: RewriteParts, source: Segment, doomed: Doomed): Promise<Rewrite> {
  const { disk, clock, directory, run } = parts;
  const pause = pauses(clock);
  const { header, marks } = await headerOf(parts, source, doomed, pause);
  const segment = new Segment(source.files, directory, header);
  const fill = async (file: DiskFile): Promise<void> => {
    await file.write(Buffer.concat([encodeSegmentHeader(header), marks]), 0, header.framesAt, 0);
    await copySurvivors(parts, source, segment, file, doomed, pause);
  };
  const temporary = await writeTemporary(disk, segment.path, fill, `${segment.path}${draftEnd(run)}`);
  segment.sealed = true;
  if (segment.records === 0) return { segment, temporary, temporaryIndex: undefined };
  try {
    const temporaryIndex = await writeIndexTo(disk, clock, segment, `${segment.indexPath}${draftEnd(run)}`);
    return { segment, temporary, temporaryIndex };
  } catch (error) {
    await discardDraft(disk, { temporary, temporaryIndex: undefined });
    throw error;
  }
}

/** Removes what was written and has no name yet. */
export async function discardDraft(
  disk: DraftDisk,
  { temporary, temporaryIndex }: Pick<Rewrite, 'temporary' | 'temporaryIndex'>,
): Promise<void> {
  for (const file of [temporary, temporaryIndex])
    if (file !== undefined) await disk.unlink(file).catch(() => undefined);
}

/** Removes the drafts of a run that were left over, where none is being written. */
export async function removeDrafts(disk: Disk, directory: string, run: number): Promise<void> {
  for (const name of await disk.list(directory))
    if (name.endsWith(draftEnd(run))) await disk.unlink(path.join(directory, name)).catch(ignoreMissing);
}

/** Not as other temporary files of a run end: an index may be written at the same time. */
function draftEnd(run: number): string {
  return `.draft.${run}.tmp`;
}

/** Removes what was written, wherever installing it failed. */
export async function discard(disk: Disk, rewrite: Rewrite): Promise<void> {
  const { segment } = rewrite;
  await discardDraft(disk, rewrite);
  await segment.files.forget(segment.indexPath);
  for (const file of [segment.path, segment.indexPath]) await disk.unlink(file).catch(() => undefined);
}

/** Gives the generation its name: from then on a start takes it. */
export async function install(disk: Disk, reading: IndexReading, rewrite: Rewrite): Promise<void> {
  const { segment, temporary, temporaryIndex } = rewrite;
  if (temporaryIndex !== undefined) {
    await installIndex(disk, segment, temporaryIndex);
    segment.index = await SealedIndex.open(segment, reading);
  }
  await giveName(disk, temporary, segment.path);
}

async function headerOf(
  { disk, clock, reading }: RewriteParts,
  source: Segment,
  doomed: Doomed,
  pause: Pause,
): Promise<{ header: SegmentHeader; marks: Buffer }> {
  // not copied: there may be hundreds of thousands
  const { marks: merged } = doomed;
  for await (const earlier of marksOf(source, reading))
    for (const mark of earlier) {
      const added = merged.get(mark.topic);
      merged.set(mark.topic, added === undefined ? mark : { topic: mark.topic, ...laterDropped(mark, added) });
    }
  const rewritten = {
    marksBytes: 0,
    newestDropped: 0,
    newestDeletion: 0,
    lastOffset: source.lastOffset,
    lastCrc: source.chainCrc,
  };
  // what is in memory was planned before the last frame of the segment before was known
  const written = await readHeader(disk, source.path);
  if (typeof written === 'string') throw new Error(`${source.name}: ${written}`);
  const header = { ...written, generation: written.generation + 1, created: clock.now(), rewritten };
  const writer = new MarkWriter(source.firstOffset, segmentSeed(header));
  for (const mark of await sortInSlices([...merged.values()], pause)) {
    writer.add(mark);
    const waiting = pause();
    if (waiting !== undefined) await waiting;
  }
  const marks = writer.finish();
  const { newestDropped, newestDeletion } = writer;
  return {
    marks,
    header: {
      ...header,
      framesAt: segmentHeaderBytes + marks.length,
      rewritten: { ...rewritten, marksBytes: marks.length, newestDropped, newestDeletion },
    },
  };
}

async function copySurvivors(
  { reading, checkStopped }: RewriteParts,
  source: Segment,
  segment: Segment,
  file: DiskFile,
  doomed: Doomed,
  pause: Pause,
): Promise<void> {
  const memory = new ChunkMemory();
  const frames = new FrameReader(source, reading.gate, source.header.framesAt, chunkBytes, memory);
  let unsynced = 0;
  let batch = new Batch(segment, segment.end, new BatchSpace(writeBytes), 0);
  const write = async (): Promise<void> => {
    batch.close();
    segment.lastCrc = batch.finish(source.lastOffset, segment.lastCrc);
    await file.write(batch.buffer, 0, batch.length, batch.position);
    batch.commitToIndex();
    unsynced += batch.length;
    if (unsynced >= syncBytes) {
      await file.sync();
      unsynced = 0;
    }
    batch = new Batch(segment, segment.end, batch.space, 0);
  };
  let ordinal = 0;
  let { buffer } = frames;
  while (await frames.next()) {
    checkStopped();
    if (frames.buffer !== buffer) memory.give(buffer);
    buffer = frames.buffer;
    let at = frames.at + frameHeaderBytes;
    for (let i = 0; i < frames.header.count; i++) {
      if (!doomed.has(ordinal++)) {
        const record = decodeRecord(frames.buffer, at, source.firstOffset);
        batch.add(record, record.offset, record.time);
      }
      at += recordLength(frames.buffer, at);
      const waiting = pause();
      if (waiting !== undefined) await waiting;
    }
    if (batch.length >= writeBytes) await write();
  }
  if (batch.count > 0) await write();
  await writeEnd(source, segment, file);
}

/** An empty frame closes the file: it carries on to where the records of the segment ended, and in time. */
async function writeEnd(source: Segment, segment: Segment, file: DiskFile): Promise<void> {
  const { lastOffset, lastTime } = source;
  const frame = Buffer.alloc(frameHeaderBytes);
  writeFrame(frame, 0, frameHeaderBytes, 0, lastOffset + 1, lastOffset, lastTime, segment.seed);
  segment.lastCrc = finishFrame(frame, 0, lastOffset, segment.lastCrc, segment.seed);
  await file.write(frame, 0, frame.length, segment.end);
  segment.lastFrameAt = segment.end;
  segment.end += frameHeaderBytes;
  segment.lastOffset = lastOffset;
  segment.lastTime = lastTime;
}
