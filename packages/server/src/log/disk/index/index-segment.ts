import type { Gate } from '../read/gate.ts';
import { ChunkMemory } from '../segment/chunk-memory.ts';
import { frameHeaderBytes } from '../segment/frame.ts';
import { chunkBytes, FrameReader } from '../segment/frame-reader.ts';
import {
  recordEndsTopic,
  recordHasId,
  recordHeaderBytes,
  recordIsRemembered,
  recordLength,
  recordOffset,
  recordTime,
  recordTopic,
  recordTopicBytes,
  recordTopicNumber,
} from '../segment/record-codec.ts';
import type { ScannedFrame } from '../segment/scan.ts';
import type { Segment } from '../segment/segment.ts';
import { atOnce } from '../segment/slices.ts';
import { ActiveIndex } from './active-index.ts';
import type { Pause } from './index-writer.ts';

/** Builds the index of a segment from its checked frames, and sets what the segment knows of itself. */
export function indexSegment(segment: Segment, buffer: Buffer, frames: readonly ScannedFrame[]): void {
  atOnce(indexing(segment, buffer, frames));
}

/** The same step by step. */
export function* indexing(
  segment: Segment,
  buffer: Buffer,
  frames: readonly ScannedFrame[],
): Generator<number, undefined> {
  const index = new ActiveIndex(segment.header.framesAt);
  segment.index = index;
  segment.records = 0;
  segment.remembered = 0;
  segment.ids = 0;
  for (const frame of frames) {
    indexFrame(segment, index, buffer, frame.position, frame, frame.position);
    yield frame.count + 1;
  }
}

/**
 * The same, from the file: its frames up to the end that is known of the segment, with about as many `topics`. Rejects with
 * LogDamaged.
 */
export async function indexFrames(segment: Segment, gate: Gate, pause: Pause, topics = 0): Promise<void> {
  const index = new ActiveIndex(segment.header.framesAt);
  index.reserve(topics, segment.records);
  const memory = new ChunkMemory();
  const frames = new FrameReader(segment, gate, segment.header.framesAt, chunkBytes, memory);
  segment.index = index;
  segment.records = 0;
  segment.remembered = 0;
  segment.ids = 0;
  let { buffer } = frames;
  while (await frames.next()) {
    const { at, header, position } = frames;
    if (frames.buffer !== buffer) memory.give(buffer);
    buffer = frames.buffer;
    indexFrame(segment, index, buffer, at, header, position);
    const waiting = pause(header.count);
    if (waiting !== undefined) await waiting;
  }
}

/** Takes the frame that is at `at` in the buffer and at `position` in the file. */
function indexFrame(
  segment: Segment,
  index: ActiveIndex,
  buffer: Buffer,
  at: number,
  frame: Omit<ScannedFrame, 'position' | 'durable'>,
  position: number,
): void {
  const ahead = position - at;
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  let record = at + frameHeaderBytes;
  for (let i = 0; i < frame.count; i++) {
    const number = recordTopicNumber(buffer, record);
    if (!index.has(number)) {
      const topicAt = record + recordHeaderBytes;
      index.topicAs(view, topicAt, topicAt + recordTopicBytes(buffer, record), number);
    }
    const time = recordTime(buffer, record);
    const offset = recordOffset(buffer, record, segment.firstOffset);
    index.add(number, record + ahead, offset, time);
    if (segment.records++ === 0) segment.firstTime = time;
    if (recordIsRemembered(buffer, record)) segment.remembered++;
    if (recordHasId(buffer, record)) segment.ids++;
    if (recordEndsTopic(buffer, record)) index.ended.push([recordTopic(buffer, record), offset]);
    record += recordLength(buffer, record);
  }
  if (frame.count > 0) index.sparse.add(frame.first, position, frame.time);
  if (frame.count > 0 || segment.header.rewritten !== undefined) {
    segment.lastOffset = frame.last;
    segment.lastTime = frame.time;
  }
  segment.end = position + frame.length;
  segment.lastCrc = frame.crc;
  segment.lastFrameAt = position;
}
