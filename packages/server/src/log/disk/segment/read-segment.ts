import type { DraftDisk } from '../files/disk.ts';
import { decodeSegmentHeader, type SegmentHeader, segmentHeaderBytes } from './segment-header.ts';

/** The header of a segment file, or what is wrong with it. */
export async function readHeader(disk: Pick<DraftDisk, 'open'>, file: string): Promise<SegmentHeader | string> {
  const buffer = Buffer.alloc(segmentHeaderBytes);
  const handle = await disk.open(file, 'read');
  try {
    const got = await handle.read(buffer, 0, buffer.length, 0);
    return decodeSegmentHeader(buffer.subarray(0, got));
  } finally {
    await handle.close();
  }
}

/** All of a file. */
export async function readAll(disk: Pick<DraftDisk, 'open'>, file: string): Promise<Buffer> {
  const handle = await disk.open(file, 'read');
  try {
    const buffer = Buffer.allocUnsafeSlow(await handle.size());
    const got = await handle.read(buffer, 0, buffer.length, 0);
    return buffer.subarray(0, got);
  } finally {
    await handle.close();
  }
}
