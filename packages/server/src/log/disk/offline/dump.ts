import * as path from 'node:path';
import type { FilterSet } from '@tailrace/protocol';
import type { LogRecord } from '../../record.ts';
import type { Disk } from '../files/disk.ts';
import { breakWasAccepted, type EpochsFile, lossWasAccepted, readEpochs } from '../files/epochs-file.ts';
import { readIdentity } from '../files/identity.ts';
import { nodeDisk } from '../files/node-disk.ts';
import { OpenFiles } from '../files/open-files.ts';
import { takenSegments } from '../recovery/generation.ts';
import { LogDamaged, notFollowing } from '../segment/damage.ts';
import { frameHeaderBytes } from '../segment/frame.ts';
import { readAll, readHeader } from '../segment/read-segment.ts';
import { decodeRecord, recordLength } from '../segment/record-codec.ts';
import { endOfScan, scanSegment } from '../segment/scan.ts';
import type { SegmentName } from '../segment/segment-name.ts';

export interface DumpOptions {
  /** First and last offset, inclusive. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly filters?: FilterSet | undefined;
  readonly disk?: Disk | undefined;
}

/** The records of a log that no server needs to hold open, in order. Throws LogDamaged at the first bad place. */
export async function* dump(directory: string, options: DumpOptions = {}): AsyncGenerator<LogRecord, void, undefined> {
  const { from = 1, to = Number.MAX_SAFE_INTEGER, filters, disk = nodeDisk } = options;
  const epochs = await readEpochs(disk, directory).catch(() => undefined);
  const newest = await segmentsOf(disk, directory, epochs);
  let before: { readonly name: string; readonly next: number; readonly crc: number } | undefined;
  for (let i = 0; i < newest.length; i++) {
    const { name, firstOffset } = newest[i]!;
    // a copy of a tail overlaps the segment it was taken from when a recovery was cut short: the copy counts
    const limit = Math.min(to, (newest[i + 1]?.firstOffset ?? Number.MAX_SAFE_INTEGER) - 1);
    if (firstOffset > to || limit < from) continue;
    const file = path.join(directory, name);
    const header = await readHeader(disk, file);
    if (typeof header === 'string')
      throw new LogDamaged(directory, [{ segment: name, position: 0, what: header }], hint);
    const follows = before?.next !== firstOffset || before.crc === header.previousCrc;
    if (!follows && !breakWasAccepted(epochs, firstOffset))
      throw new LogDamaged(directory, [{ segment: name, offset: firstOffset, what: notFollowing(before!.name) }], hint);
    const buffer = await readAll(disk, file);
    const scan = scanSegment(buffer, header);
    const last = scan.frames.findLast(frame => frame.last <= limit);
    before =
      last === undefined
        ? undefined
        : { name, next: Math.min(scan.last, limit) + 1, crc: header.rewritten?.lastCrc ?? last.crc };
    for (const frame of scan.frames) {
      let at = frame.position + frameHeaderBytes;
      for (let r = 0; r < frame.count; r++) {
        const record = decodeRecord(buffer, at, header.firstOffset);
        at += recordLength(buffer, at);
        if (record.offset >= from && record.offset <= limit && (filters?.matches(record.topic) ?? true)) yield record;
      }
    }
    const needed = newest[i + 1] === undefined ? scan.durable : limit;
    if (scan.last < Math.min(needed, to) && !lossWasAccepted(epochs, scan.last + 1, needed)) {
      throw new LogDamaged(directory, [{ segment: name, offset: scan.last + 1, ...endOfScan(scan) }], hint);
    }
  }
}

/** What a start would go on with. */
async function segmentsOf(
  disk: Disk,
  directory: string,
  epochs: EpochsFile | undefined,
): Promise<readonly SegmentName[]> {
  const files = new OpenFiles(disk);
  const identity = await readIdentity(disk, directory).catch(() => undefined);
  const { segments } = await takenSegments({ disk, files, directory, identity, epochs }, await disk.list(directory));
  await files.close();
  return segments;
}

const hint = 'Run `tailrace log verify` to see all of it, `tailrace log repair` to save the rest.';
