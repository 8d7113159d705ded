import { type BatchTopics, BatchTopicsBuilder } from '../log/batch-topics.ts';
import { EncodedBatch } from '../log/disk/commit/encoded-batch.ts';
import {
  decodeRecord,
  encodeRecord,
  recordEndsTopic,
  recordFlags,
  recordHeaderBytes,
  recordIsWhole,
  recordTopic,
  recordTopicBytes,
} from '../log/disk/segment/record-codec.ts';
import type { RecordSource } from '../log/index.ts';
import { encodedBound } from '../log/intake.ts';
import type { LogRecord } from '../log/record.ts';
import { topicHash } from '../log/topic-hash.ts';

/**
 * A record as brokers hold it: the bytes of the disk log's record, checked by the same crc, without offset and time. These
 * are the broker's to give, and come beside the bytes.
 */
export interface PackedRecord {
  readonly offset: number;
  /** ms since 1970 UTC. */
  readonly time: number;
  readonly bytes: Buffer;
}

const seed = 0x7a11ace5;

export function packedEndsTopic({ bytes }: PackedRecord): boolean {
  return recordEndsTopic(bytes, 0);
}

/** `ahead`: bytes to leave free in front of it. */
export function packRecord(record: RecordSource, ahead = 0): Buffer {
  const buffer = Buffer.allocUnsafeSlow(ahead + encodedBound(record) + recordHeaderBytes);
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
  return buffer.subarray(0, encodeRecord(buffer, view, ahead, record, 0, 0, 0, seed));
}

/** Whether Tailrace wrote these bytes and they are as it wrote them. Before `unpackRecord` or `packedBatch` took them. */
export function isPacked(bytes: Buffer): boolean {
  return recordIsWhole(bytes, 0, seed);
}

/** The record; its data is a view of the bytes, which it changes. */
export function unpackRecord({ offset, time, bytes }: PackedRecord): LogRecord {
  bytes.writeUIntLE(time, timeAt, 6);
  return decodeRecord(bytes, 0, offset);
}

export function packedTopic({ bytes }: PackedRecord): string {
  return recordTopic(bytes, 0);
}

/** Whether it has no more to it than its topic: no id, sequence or key, and the topic goes on. Hot. */
export function isPlain(bytes: Buffer): boolean {
  const { id, producer, key, end } = recordFlags;
  return (bytes.readUInt16LE(flagsAt) & (id | producer | key | end)) === 0;
}

const aheadAt = 8;
const flagsAt = 22;
const timeAt = 16;

/** `records`, of which there must be one, in one piece of memory: what the broker's client read them into can go. */
export function packedBatch(records: readonly PackedRecord[]): EncodedBatch {
  const first = records[0]!.offset;
  const places = new Int32Array(records.length);
  let size = 0;
  for (let i = 0; i < records.length; i++) {
    places[i] = size;
    size += records[i]!.bytes.length;
  }
  const bytes = Buffer.allocUnsafeSlow(size);
  for (let i = 0; i < records.length; i++) {
    const { offset, time, bytes: packed } = records[i]!;
    const place = places[i]!;
    packed.copy(bytes, place);
    bytes.writeUInt32LE(offset - first, place + aheadAt);
    bytes.writeUIntLE(time, place + timeAt, 6);
  }
  return new EncodedBatch(bytes, places, topicsOf(bytes, places), first);
}

const builder = new BatchTopicsBuilder();

/** Hot. */
function topicsOf(bytes: Buffer, places: Int32Array): BatchTopics {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const numbers = new Map<string, number>();
  builder.clear();
  for (const place of places) {
    const topic = recordTopic(bytes, place);
    const known = numbers.get(topic);
    if (known === undefined) {
      const start = place + recordHeaderBytes;
      builder.add(numbers.size, topic, topicHash.ofBytes(view, start, start + recordTopicBytes(bytes, place)));
      numbers.set(topic, numbers.size);
    } else builder.add(known, topic, 0);
  }
  return builder.finish();
}
