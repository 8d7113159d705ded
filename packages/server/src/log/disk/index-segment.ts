import { ActiveIndex } from './active-index.ts';
import { frameHeaderBytes } from './frame.ts';
import {
  recordEndsTopic,
  recordHasId,
  recordIsRemembered,
  recordLength,
  recordOffset,
  recordTime,
  recordTopic,
  recordTopicNumber,
} from './record-codec.ts';
import type { ScannedFrame } from './scan.ts';
import type { Segment } from './segment.ts';

/** Builds the index of a segment from its checked frames, and sets what the segment knows of itself. */
export function indexSegment(segment: Segment, buffer: Buffer, frames: readonly ScannedFrame[]): void {
  const index = new ActiveIndex(segment.header.framesAt);
  segment.index = index;
  segment.records = 0;
  segment.remembered = 0;
  segment.ids = 0;
  for (const frame of frames) {
    let at = frame.position + frameHeaderBytes;
    for (let i = 0; i < frame.count; i++) {
      const topic = index.topicAs(recordTopic(buffer, at), recordTopicNumber(buffer, at));
      const time = recordTime(buffer, at);
      index.add(topic, at, recordOffset(buffer, at, segment.firstOffset), time);
      if (segment.records++ === 0) segment.firstTime = time;
      if (recordIsRemembered(buffer, at)) segment.remembered++;
      if (recordHasId(buffer, at)) segment.ids++;
      if (recordEndsTopic(buffer, at)) index.ended.push([topic.topic, topic.lastOffset]);
      at += recordLength(buffer, at);
    }
    if (frame.count > 0) index.sparse.add(frame.first, frame.position, frame.time);
    if (frame.count > 0 || segment.header.rewritten !== undefined) {
      segment.lastOffset = frame.last;
      segment.lastTime = frame.time;
    }
    segment.end = frame.position + frame.length;
    segment.lastCrc = frame.crc;
    segment.lastFrameAt = frame.position;
  }
}
