import type { OpenFiles } from '../files/open-files.ts';
import { ActiveIndex } from '../index/active-index.ts';
import { Segment } from '../segment/segment.ts';
import type { SegmentHeader } from '../segment/segment-header.ts';

/** What is known of a segment without its index: it can go to another thread. */
export interface SegmentState {
  readonly header: SegmentHeader;
  readonly lastOffset: number;
  readonly firstTime: number;
  readonly lastTime: number;
  readonly records: number;
  readonly remembered: number;
  readonly ids: number;
  readonly end: number;
  readonly lastCrc: number;
  readonly lastFrameAt: number;
  readonly sealed: boolean;
  readonly uncut: boolean;
  /** Whether its index is a file. */
  readonly indexed: boolean;
  /** As far as that is known. */
  readonly topics: number;
}

export function stateOf(segment: Segment): SegmentState {
  const { header, lastOffset, firstTime, lastTime, records, remembered, ids, end, lastCrc, lastFrameAt } = segment;
  const { sealed, uncut } = segment;
  const { index } = segment;
  const indexed = !(index instanceof ActiveIndex);
  const topics = indexed ? 0 : index.topicCount;
  const known = { header, lastOffset, firstTime, lastTime, records, remembered, ids, end, lastCrc, lastFrameAt };
  return { ...known, sealed, uncut, indexed, topics };
}

/** Without an index. */
export function segmentOf(files: OpenFiles, directory: string, state: SegmentState): Segment {
  const { header, indexed: _, topics: __, ...known } = state;
  return Object.assign(new Segment(files, directory, header), known);
}
