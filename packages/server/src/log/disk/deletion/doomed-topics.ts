import type { Deletion } from '../../deletions.ts';
import { Doomed } from '../compaction/doomed.ts';
import type { Pause } from '../index/index-writer.ts';
import { IndexDamaged, type IndexReading } from '../index/sealed-index.ts';
import { frameHeaderBytes } from '../segment/frame.ts';
import { FrameReader } from '../segment/frame-reader.ts';
import { recordLength, recordOffset, recordTopicNumber } from '../segment/record-codec.ts';
import type { Segment } from '../segment/segment.ts';

export interface DoomedTopicsParts {
  readonly reading: IndexReading;
  readonly pause: Pause;
  /** Throws when the log is being closed. */
  readonly checkStopped: () => void;
}

/** The deletions that concern a segment, by the number of their topic in it. */
export type DoomedTopics = ReadonlyMap<number, Deletion>;

/** `rebuild` builds the index of a segment anew. */
export async function topicsIn(
  segment: Segment,
  deletions: Iterable<Deletion>,
  rebuild: (error: IndexDamaged) => Promise<void>,
): Promise<DoomedTopics> {
  for (;;) {
    try {
      const found = new Map<number, Deletion>();
      for (const deletion of deletions) {
        const { topic, upTo } = deletion;
        if (segment.firstOffset > upTo || !segment.index.mayHold(topic)) continue;
        const [first] = await segment.index.topics(topic, '', 1);
        if (first?.topic === topic) found.set(first.number, deletion);
      }
      return found;
    } catch (error) {
      if (!(error instanceof IndexDamaged)) throw error;
      await rebuild(error);
    }
  }
}

/** What the deletions take from a segment. */
export async function doomedIn(
  segment: Segment,
  topics: DoomedTopics,
  { reading, pause, checkStopped }: DoomedTopicsParts,
): Promise<Doomed> {
  const doomed = new Doomed(segment.firstOffset, segment.records);
  const frames = new FrameReader(segment, reading.gate, segment.header.framesAt);
  let ordinal = 0;
  while (await frames.next()) {
    checkStopped();
    let at = frames.at + frameHeaderBytes;
    for (let i = 0; i < frames.header.count; i++) {
      const deletion = topics.get(recordTopicNumber(frames.buffer, at));
      if (deletion !== undefined && recordOffset(frames.buffer, at, segment.firstOffset) <= deletion.upTo)
        doomed.add(ordinal, frames.buffer, at, deletion.table);
      ordinal++;
      at += recordLength(frames.buffer, at);
      const waiting = pause();
      if (waiting !== undefined) await waiting;
    }
  }
  return doomed;
}
