import { frameHeaderBytes } from '../segment/frame.ts';
import { recordHeaderBytes, recordIsWhole, recordLength, recordOffset } from '../segment/record-codec.ts';
import type { ScannedFrame } from '../segment/scan.ts';
import { type SegmentHeader, segmentSeed } from '../segment/segment-header.ts';

/** Where frames are damaged, and which offsets may lie there. */
export interface DamagedPart {
  readonly from: number;
  readonly to: number;
  readonly first: number;
  readonly last: number;
}

/** What can be saved as it stands: records that follow each other in the file. */
export type Saved = Pick<ScannedFrame, 'position' | 'count' | 'first' | 'last'>;

/**
 * The records in a damaged part that pass their own checks, as frames of which only the records count. Their checksums
 * begin with the segment's secret seed, so nothing that a publisher sent can look like one; its offset says that it is no
 * repetition.
 */
export function salvage(buffer: Buffer, header: SegmentHeader, { from, to, first, last }: DamagedPart): Saved[] {
  const seed = segmentSeed(header);
  const part = buffer.subarray(0, to);
  const found: Saved[] = [];
  let next = first;
  let end = -1;
  for (let at = from; at + recordHeaderBytes <= to; ) {
    const offset = recordOffset(part, at, header.firstOffset);
    // the offset first: a checksum of whatever a length may name is dear
    if (offset < next || offset > last || !recordIsWhole(part, at, seed)) {
      at++;
      continue;
    }
    const before = found.at(-1);
    if (before !== undefined && at === end)
      found[found.length - 1] = { ...before, count: before.count + 1, last: offset };
    else found.push({ position: at - frameHeaderBytes, count: 1, first: offset, last: offset });
    at += recordLength(part, at);
    end = at;
    next = offset + 1;
  }
  return found;
}
