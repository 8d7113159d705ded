import { Batch } from '../commit/batch.ts';
import { BatchSpace } from '../commit/batch-space.ts';
import type { Disk } from '../files/disk.ts';
import { replaceFile } from '../files/replace-file.ts';
import { frameHeaderBytes } from './frame.ts';
import { decodeRecord, recordLength } from './record-codec.ts';
import { type ScannedFrame, scanSegment } from './scan.ts';
import { Segment } from './segment.ts';
import { encodeSegmentHeader, type SegmentHeader } from './segment-header.ts';

export interface WrittenSegment {
  readonly segment: Segment;
  readonly buffer: Buffer;
  readonly frames: readonly ScannedFrame[];
}

/**
 * Writes the records of some frames of `source` as a new segment: encoded anew, since every checksum begins with the
 * segment's own seed. It appears under its name only when it is whole and synced.
 */
export async function writeSegment(
  disk: Disk,
  directory: string,
  header: SegmentHeader,
  source: Segment,
  content: Buffer,
  frames: readonly Pick<ScannedFrame, 'position' | 'count'>[],
): Promise<WrittenSegment> {
  const segment = new Segment(source.files, directory, header);
  const batch = new Batch(segment, header.framesAt, new BatchSpace(64 * 1024), 0);
  for (const frame of frames) {
    let at = frame.position + frameHeaderBytes;
    for (let i = 0; i < frame.count; i++) {
      const record = decodeRecord(content, at, source.firstOffset);
      batch.add(record, record.offset, record.time);
      at += recordLength(content, at);
    }
  }
  batch.close();
  batch.finish(header.firstOffset - 1, header.previousCrc);
  const buffer = Buffer.concat([encodeSegmentHeader(header), batch.buffer.subarray(0, batch.length)]);
  await replaceFile(disk, segment.path, file => file.write(buffer, 0, buffer.length, 0));
  const scan = scanSegment(buffer, header);
  if (scan.bad !== undefined) throw new Error(`the copy ${segment.name} does not read back: ${scan.bad.what}`);
  return { segment, buffer, frames: scan.frames };
}
