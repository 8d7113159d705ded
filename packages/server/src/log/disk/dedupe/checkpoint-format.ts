import { crc32 } from 'node:zlib';
import type { Dedupe, DedupeState } from '../../dedupe.ts';
import type { ProducerEntry } from '../../producer.ts';
import type { ProducerState } from '../../producers.ts';
import { readU64, writeU64 } from '../segment/integers.ts';

/**
 * What de-duplication remembers at the end of a segment, `<segment>.dedupe`; the crc at its end covers all of it.
 *
 *  ┌────────┬──────────────────────────────┬─────────────────────────────────────────────┬─────┐
 *  │ header │ ids, by offset:              │ producers:                                  │ crc │
 *  │ 64 B   │ bytes, offset, time, key     │ bytes, entries, last offset, highest        │     │
 *  │        │                              │ sequence, key; entries:                     │     │
 *  │        │                              │ highest − sequence, offset, time            │     │
 *  └────────┴──────────────────────────────┴─────────────────────────────────────────────┴─────┘
 *            u32   u64     u48              u32 u16 u64 u64, u16 u64 u48                   u32
 *
 *  header: magic, log id 16, first offset u64, last offset u64, generation u32, crc of the last frame u32, ids u32,
 *  producers u32, 8 reserved
 */
const headerBytes = 64;
const crcBytes = 4;
const idBytes = 18;
const producerBytes = 22;
const entryBytes = 16;
const magic = 'TRDUP001';

/** Bytes encoded in one turn of the event loop: commits go on beside it. */
const chunkBytes = 64 * 1024;

/** The end of a segment: what is remembered there. */
export interface CheckpointHeader {
  readonly logId: string;
  readonly firstOffset: number;
  readonly generation: number;
  readonly lastOffset: number;
  /** Crc of the segment's last frame. */
  readonly lastCrc: number;
  readonly ids: number;
  readonly producers: number;
}

/** The bytes of a checkpoint, made as they are asked for. */
export function* encodeCheckpoint(header: CheckpointHeader, state: DedupeState): Generator<Buffer, void, undefined> {
  let crc = 0;
  for (const chunk of inChunks(parts(header, state))) {
    crc = crc32(chunk, crc);
    yield chunk;
  }
  const end = Buffer.alloc(crcBytes);
  end.writeUInt32LE(crc);
  yield end;
}

/** What is wrong with the file, or its header. */
export function checkCheckpoint(buffer: Buffer): CheckpointHeader | string {
  if (buffer.length < headerBytes + crcBytes || buffer.toString('latin1', 0, 8) !== magic)
    return 'it does not begin as a checkpoint does';
  const end = buffer.length - crcBytes;
  if (crc32(buffer.subarray(0, end)) !== buffer.readUInt32LE(end)) return 'it fails its checksum';
  return {
    logId: buffer.toString('latin1', 8, 24).replace(/\0+$/, ''),
    firstOffset: readU64(buffer, 24),
    lastOffset: readU64(buffer, 32),
    generation: buffer.readUInt32LE(40),
    lastCrc: buffer.readUInt32LE(44),
    ids: buffer.readUInt32LE(48),
    producers: buffer.readUInt32LE(52),
  };
}

/** Fills `dedupe` from a checkpoint that was checked. */
export function restoreCheckpoint(buffer: Buffer, { ids, producers, lastOffset }: CheckpointHeader, to: Dedupe): void {
  let at = headerBytes;
  for (let i = 0; i < ids; i++) {
    const end = at + idBytes + buffer.readUInt32LE(at);
    to.restoreId(buffer.toString('utf8', at + idBytes, end), readU64(buffer, at + 4), buffer.readUIntLE(at + 12, 6));
    at = end;
  }
  for (let i = 0; i < producers; i++) {
    const keyEnd = at + producerBytes + buffer.readUInt32LE(at);
    const highest = readU64(buffer, at + 14);
    const entries: ProducerEntry[] = [];
    let entry = keyEnd;
    for (let left = buffer.readUInt16LE(at + 4); left > 0; left--) {
      entries.push({
        sequence: highest - buffer.readUInt16LE(entry),
        offset: readU64(buffer, entry + 2),
        time: buffer.readUIntLE(entry + 10, 6),
      });
      entry += entryBytes;
    }
    to.restoreProducer(buffer.toString('utf8', at + producerBytes, keyEnd), entries, readU64(buffer, at + 6));
    at = entry;
  }
  to.commit(lastOffset);
}

function* parts(header: CheckpointHeader, { ids, producers }: DedupeState): Generator<Buffer, void, undefined> {
  yield encodeHeader(header);
  for (const { key, offset, time } of ids) {
    const bytes = Buffer.byteLength(key);
    const part = Buffer.allocUnsafe(idBytes + bytes);
    part.writeUInt32LE(bytes, 0);
    writeU64(part, offset, 4);
    part.writeUIntLE(time, 12, 6);
    part.write(key, idBytes);
    yield part;
  }
  for (const producer of producers) yield encodeProducer(producer);
}

function encodeHeader(header: CheckpointHeader): Buffer {
  const buffer = Buffer.alloc(headerBytes);
  buffer.write(magic, 0, 'latin1');
  buffer.write(header.logId, 8, 16, 'latin1');
  writeU64(buffer, header.firstOffset, 24);
  writeU64(buffer, header.lastOffset, 32);
  buffer.writeUInt32LE(header.generation, 40);
  buffer.writeUInt32LE(header.lastCrc, 44);
  buffer.writeUInt32LE(header.ids, 48);
  buffer.writeUInt32LE(header.producers, 52);
  return buffer;
}

function encodeProducer({ key, entries, lastOffset }: ProducerState): Buffer {
  const bytes = Buffer.byteLength(key);
  const buffer = Buffer.allocUnsafe(producerBytes + bytes + entries.length * entryBytes);
  const highest = entries[entries.length - 1]!.sequence;
  buffer.writeUInt32LE(bytes, 0);
  buffer.writeUInt16LE(entries.length, 4);
  writeU64(buffer, lastOffset, 6);
  writeU64(buffer, highest, 14);
  buffer.write(key, producerBytes);
  let at = producerBytes + bytes;
  for (const { sequence, offset, time } of entries) {
    buffer.writeUInt16LE(highest - sequence, at);
    writeU64(buffer, offset, at + 2);
    buffer.writeUIntLE(time, at + 10, 6);
    at += entryBytes;
  }
  return buffer;
}

function* inChunks(small: Iterable<Buffer>): Generator<Buffer, void, undefined> {
  let held: Buffer[] = [];
  let bytes = 0;
  for (const part of small) {
    held.push(part);
    bytes += part.length;
    if (bytes < chunkBytes) continue;
    yield Buffer.concat(held);
    held = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(held);
}
