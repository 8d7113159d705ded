import { crc32 } from 'node:zlib';
import { readU64, writeU64 } from './integers.ts';

/**
 * The first 128 bytes of a segment; frames begin at `framesAt`.
 *
 *   0 magic "TAILRACE"     32 epoch u64              64 log id, 16 characters    112 crc u32 of bytes 0..112
 *   8 version u32          40 first offset u64       80 secret, 16 bytes         116 reserved
 *  12 framesAt u32         48 created, ms u64        96 marks: length, crc u32
 *  16 generation u32       56 previous frame's crc   104 reserved
 *  20 reserved             60 reserved
 *  24 segment number u64
 *
 * Between header and frames a rewritten generation lists its marks (topic, highest offset dropped); length 0 for now.
 */
export const segmentHeaderBytes = 128;
export const formatVersion = 1;
const magic = 'TAILRACE';
const crcAt = 112;

export interface SegmentHeader {
  readonly generation: number;
  /** Never used twice in a log, so that frames of one segment do not pass in another. */
  readonly number: number;
  readonly epoch: number;
  readonly firstOffset: number;
  /** ms since 1970 UTC. */
  readonly created: number;
  /** Crc of the last frame of the segment before, 0 for the first: another file in its place does not go unseen. */
  readonly previousCrc: number;
  readonly logId: string;
  readonly secret: Uint8Array;
  readonly framesAt: number;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const buffer = Buffer.alloc(segmentHeaderBytes);
  buffer.write(magic, 0, 'latin1');
  buffer.writeUInt32LE(formatVersion, 8);
  buffer.writeUInt32LE(header.framesAt, 12);
  buffer.writeUInt32LE(header.generation, 16);
  writeU64(buffer, header.number, 24);
  writeU64(buffer, header.epoch, 32);
  writeU64(buffer, header.firstOffset, 40);
  writeU64(buffer, header.created, 48);
  buffer.writeUInt32LE(header.previousCrc, 56);
  buffer.write(header.logId, 64, 16, 'latin1');
  buffer.set(header.secret, 80);
  buffer.writeUInt32LE(crc32(buffer.subarray(0, crcAt)), crcAt);
  return buffer;
}

/** What is wrong with the header, or the header. */
export function decodeSegmentHeader(buffer: Buffer): SegmentHeader | string {
  if (buffer.length < segmentHeaderBytes) return 'the file is shorter than a segment header';
  if (buffer.toString('latin1', 0, 8) !== magic) return 'the file does not begin as a segment does';
  if (crc32(buffer.subarray(0, crcAt)) !== buffer.readUInt32LE(crcAt)) return 'the segment header fails its checksum';
  if (buffer.subarray(crcAt + 4, segmentHeaderBytes).some(byte => byte !== 0))
    return 'reserved bytes of the segment header are not zero';
  const version = buffer.readUInt32LE(8);
  if (version !== formatVersion) return `the segment has format version ${version}; this server reads ${formatVersion}`;
  return {
    framesAt: buffer.readUInt32LE(12),
    generation: buffer.readUInt32LE(16),
    number: readU64(buffer, 24),
    epoch: readU64(buffer, 32),
    firstOffset: readU64(buffer, 40),
    created: readU64(buffer, 48),
    previousCrc: buffer.readUInt32LE(56),
    logId: buffer.toString('latin1', 64, 80).replace(/\0+$/, ''),
    secret: new Uint8Array(buffer.subarray(80, 96)),
  };
}

/**
 * What every checksum of a segment starts from: without the log's secret no payload can be made to look like a frame,
 * and with the number no frame of another segment passes.
 */
export function segmentSeed(secret: Uint8Array, number: number): number {
  const buffer = Buffer.alloc(8);
  writeU64(buffer, number, 0);
  return crc32(buffer, crc32(secret));
}
