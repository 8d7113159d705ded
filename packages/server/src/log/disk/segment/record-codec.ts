import { crc32 } from 'node:zlib';
import type { MessageHeaders } from '@tailrace/protocol';
import { LogRecord, type RecordSource } from '../../record.ts';
import { writeText } from '../../write-text.ts';
import { crcOf } from './crc.ts';

/**
 * A record inside a frame. It checks itself, so that it can be read alone by its position.
 *
 *   0     4       8        12       16    22     24     26  28     32
 *  ┌─────┬───────┬────────┬────────┬─────┬──────┬──────┬───┬──────┬───────┬──────────────────────────────┬──────┐
 *  │ crc │length │offset −│ topic  │time │flags │topic │ 0 │ data │ topic │ the fields that flags name,  │ data │
 *  │     │       │ first  │ number │     │      │bytes │   │ bytes│       │ each u32 length + bytes      │      │
 *  └─────┴───────┴────────┴────────┴─────┴──────┴──────┴───┴──────┴───────┴──────────────────────────────┴──────┘
 *   u32   u32     u32      u32      u48   u16    u16        u32     crc, seeded by the segment, covers all from `length`
 *
 * `offset − first` counts from the segment's first offset. The topic number counts the topics of a segment by first
 * appearance: a scan for a wildcard looks up one bit instead of comparing names.
 */
export const recordHeaderBytes = 32;

/** `tombstone`: a key without data deletes the key. `urgent` is kept for lanes. The bits above are free. */
type RecordFlag =
  | 'end'
  | 'tombstone'
  | 'urgent'
  | 'event'
  | 'id'
  | 'key'
  | 'headers'
  | 'by'
  | 'contentType'
  | 'producer';

export const recordFlags: Readonly<Record<RecordFlag, number>> = {
  end: 0x001,
  tombstone: 0x002,
  urgent: 0x004,
  event: 0x008,
  id: 0x010,
  key: 0x020,
  headers: 0x040,
  by: 0x080,
  contentType: 0x100,
  producer: 0x200,
};

/**
 * Writes a record and returns where it ends; the buffer must have room for `encodedBound`, and `view` be one of all
 * of it. `ahead` is its offset less the segment's first. Who has written the topic already says where it ends. Hot.
 */
export function encodeRecord(
  buffer: Buffer,
  view: DataView,
  at: number,
  record: RecordSource,
  ahead: number,
  time: number,
  topicNumber: number,
  seed: number,
  topicEnd: number = writeTopic(buffer, at, record.topic),
): number {
  const { data } = record;
  let flags = 0;
  let end = topicEnd;
  view.setUint16(at + 24, end - at - recordHeaderBytes, true);
  if (record.end) flags |= recordFlags.end;
  if (record.event !== undefined) {
    flags |= recordFlags.event;
    end = writeField(buffer, record.event, end);
  }
  if (record.id !== undefined) {
    flags |= recordFlags.id;
    end = writeField(buffer, record.id, end);
  }
  if (record.key !== undefined) {
    flags |= recordFlags.key;
    if (data.length === 0) flags |= recordFlags.tombstone;
    end = writeField(buffer, record.key, end);
  }
  if (record.headers !== undefined) {
    flags |= recordFlags.headers;
    end = writeHeaders(buffer, record.headers, end);
  }
  if (record.by !== undefined) {
    flags |= recordFlags.by;
    end = writeField(buffer, record.by, end);
  }
  if (record.contentType !== undefined) {
    flags |= recordFlags.contentType;
    end = writeField(buffer, record.contentType, end);
  }
  if (record.producer !== undefined) {
    flags |= recordFlags.producer;
    end = writeField(buffer, record.producer, end);
    buffer.writeDoubleLE(record.sequence!, end);
    end += 8;
  }
  buffer.set(data, end);
  end += data.length;
  const timeHigh = Math.floor(time / 0x1_0000_0000);
  view.setUint32(at + 4, end - at, true);
  view.setUint32(at + 8, ahead, true);
  view.setUint32(at + 12, topicNumber, true);
  view.setUint32(at + 16, time - timeHigh * 0x1_0000_0000, true);
  view.setUint16(at + 20, timeHigh, true);
  view.setUint16(at + 22, flags, true);
  view.setUint16(at + 26, 0, true);
  view.setUint32(at + 28, data.length, true);
  view.setUint32(at, crcOf(buffer, view, at + 4, end, seed), true);
  return end;
}

/** Writes the topic of a record to its place in it; returns where it ends. Hot. */
export function writeTopic(buffer: Buffer, at: number, topic: string): number {
  return writeText(buffer, topic, at + recordHeaderBytes);
}

/** Whether a whole record that passes its crc is at `at`. */
export function recordIsWhole(buffer: Buffer, at: number, seed: number): boolean {
  if (at + recordHeaderBytes > buffer.length) return false;
  const length = recordLength(buffer, at);
  if (length < recordHeaderBytes || at + length > buffer.length) return false;
  return crc32(buffer.subarray(at + 4, at + length), seed) === buffer.readUInt32LE(at);
}

export function recordLength(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at + 4);
}

export function recordOffset(buffer: Buffer, at: number, firstOffset: number): number {
  return firstOffset + buffer.readUInt32LE(at + 8);
}

export function recordTopicNumber(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at + 12);
}

export function recordTime(buffer: Buffer, at: number): number {
  return buffer.readUIntLE(at + 16, 6);
}

export function recordTopic(buffer: Buffer, at: number): string {
  const start = at + recordHeaderBytes;
  return buffer.toString('utf8', start, start + buffer.readUInt16LE(at + 24));
}

/** Whether de-duplication cares about the record. */
export function recordIsRemembered(buffer: Buffer, at: number): boolean {
  return (buffer.readUInt16LE(at + 22) & (recordFlags.id | recordFlags.producer)) !== 0;
}

export function recordHasId(buffer: Buffer, at: number): boolean {
  return (buffer.readUInt16LE(at + 22) & recordFlags.id) !== 0;
}

export function recordEndsTopic(buffer: Buffer, at: number): boolean {
  return (buffer.readUInt16LE(at + 22) & recordFlags.end) !== 0;
}

/** Whether the record deletes its key, and nothing else: the end of a topic is more than that. */
export function recordIsDeletion(buffer: Buffer, at: number): boolean {
  return (buffer.readUInt16LE(at + 22) & (recordFlags.tombstone | recordFlags.end)) === recordFlags.tombstone;
}

/** Where the key of the record begins, behind its length; 0 when it has none. */
export function recordKeyAt(buffer: Buffer, at: number): number {
  const flags = buffer.readUInt16LE(at + 22);
  if ((flags & recordFlags.key) === 0) return 0;
  let field = at + recordHeaderBytes + buffer.readUInt16LE(at + 24);
  if (flags & recordFlags.event) field += 4 + buffer.readUInt32LE(field);
  if (flags & recordFlags.id) field += 4 + buffer.readUInt32LE(field);
  return field + 4;
}

/** Bytes of the key that begins at `keyAt`. */
export function keyLength(buffer: Buffer, keyAt: number): number {
  return buffer.readUInt32LE(keyAt - 4);
}

export function recordTopicBytes(buffer: Buffer, at: number): number {
  return buffer.readUInt16LE(at + 24);
}

/**
 * Reads the record at `at`, whose frame or crc has been checked. Its data is a view into `buffer`, or what `dataOf` makes of
 * it. Who knows the topic saves its decoding.
 */
export function decodeRecord(
  buffer: Buffer,
  at: number,
  firstOffset: number,
  topic: string = recordTopic(buffer, at),
  dataOf: (buffer: Buffer, start: number, end: number) => Buffer = viewOf,
): LogRecord {
  const flags = buffer.readUInt16LE(at + 22);
  const end = at + recordLength(buffer, at);
  const dataAt = end - buffer.readUInt32LE(at + 28);
  const fields = new FieldReader(buffer, at + recordHeaderBytes + buffer.readUInt16LE(at + 24));
  const event = flags & recordFlags.event ? fields.text() : undefined;
  const id = flags & recordFlags.id ? fields.text() : undefined;
  const key = flags & recordFlags.key ? fields.text() : undefined;
  const headers = flags & recordFlags.headers ? fields.headers() : undefined;
  const by = flags & recordFlags.by ? fields.text() : undefined;
  const contentType = flags & recordFlags.contentType ? fields.text() : undefined;
  const producer = flags & recordFlags.producer ? fields.text() : undefined;
  const sequence = flags & recordFlags.producer ? fields.double() : undefined;
  return new LogRecord(recordOffset(buffer, at, firstOffset), recordTime(buffer, at), {
    topic,
    data: dataOf(buffer, dataAt, end),
    contentType,
    event,
    id,
    producer,
    sequence,
    key,
    headers,
    by,
    end: (flags & recordFlags.end) !== 0,
  });
}

function viewOf(buffer: Buffer, start: number, end: number): Buffer {
  return buffer.subarray(start, end);
}

export function copyOf(buffer: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  buffer.copy(copy, 0, start, end);
  return copy;
}

class FieldReader {
  readonly #buffer: Buffer;
  #at: number;

  constructor(buffer: Buffer, at: number) {
    this.#buffer = buffer;
    this.#at = at;
  }

  text(): string {
    const start = this.#at + 4;
    this.#at = start + this.#buffer.readUInt32LE(this.#at);
    return this.#buffer.toString('utf8', start, this.#at);
  }

  headers(): MessageHeaders {
    const count = this.#buffer.readUInt32LE(this.#at);
    this.#at += 4;
    const headers: Record<string, string> = {};
    for (let i = 0; i < count; i++) {
      const name = this.text();
      headers[name] = this.text();
    }
    return headers;
  }

  double(): number {
    this.#at += 8;
    return this.#buffer.readDoubleLE(this.#at - 8);
  }
}

function writeField(buffer: Buffer, text: string, at: number): number {
  const end = writeText(buffer, text, at + 4);
  buffer.writeUInt32LE(end - at - 4, at);
  return end;
}

function writeHeaders(buffer: Buffer, headers: MessageHeaders, at: number): number {
  let count = 0;
  let end = at + 4;
  for (const name in headers) {
    end = writeField(buffer, name, end);
    end = writeField(buffer, headers[name]!, end);
    count++;
  }
  buffer.writeUInt32LE(count, at);
  return end;
}
