import { crcOf } from '../log/disk/segment/crc.ts';
import {
  decodeRecord,
  encodeRecord,
  recordEndsTopic,
  recordFlags,
  recordHeaderBytes,
  recordIsWhole,
  recordLength,
  recordTopic,
} from '../log/disk/segment/record-codec.ts';
import type { RecordSource } from '../log/index.ts';
import { encodedBound } from '../log/intake.ts';
import type { LogRecord } from '../log/record.ts';

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

/** The same of bytes from `start` to `end` of a buffer, `view` being one of all of it. Hot. */
export function isPackedAt(buffer: Buffer, view: DataView, start: number, end: number): boolean {
  if (start + recordHeaderBytes > end || recordLength(buffer, start) !== end - start) return false;
  return crcOf(buffer, view, start + 4, end, seed) === view.getUint32(start, true);
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

/** Where in the bytes offset and time are. */
export const aheadAt = 8;
export const timeAt = 16;
const flagsAt = 22;
