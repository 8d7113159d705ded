import { FrameHeader, findFrame } from '../segment/frame.ts';
import { type ScannedFrame, type SegmentScan, scanSegment } from '../segment/scan.ts';
import { type SegmentHeader, segmentSeed } from '../segment/segment-header.ts';

/** Whole frames that follow each other, between two bad places. */
export interface FrameRun {
  readonly frames: readonly ScannedFrame[];
  /** What ends it: undefined when it goes on to the end of the data. */
  readonly bad: SegmentScan['bad'];
}

/** The stretches of whole frames behind the first bad place of a segment. Frames that repeat offsets are left out. */
export function runsBehind(buffer: Buffer, header: SegmentHeader, scan: SegmentScan): FrameRun[] {
  if (scan.bad === undefined) return [];
  const seed = segmentSeed(header);
  const found = new FrameHeader();
  const runs: FrameRun[] = [];
  let last = scan.last;
  let number = scan.frames.length + 1;
  for (let at = findFrame(buffer, scan.bad.position + 8, seed, found); at !== -1; ) {
    let end = at + 8;
    if (found.first > last) {
      const before = { last: found.first - 1, crc: found.previousCrc, time: 0, frame: number };
      const run = scanSegment(buffer, header, at, before);
      if (run.frames.length > 0) {
        runs.push({ frames: run.frames, bad: run.bad });
        last = Math.max(last, run.last);
        number += run.frames.length + 1;
        end = run.end;
      }
    }
    at = findFrame(buffer, end, seed, found);
  }
  return runs;
}
