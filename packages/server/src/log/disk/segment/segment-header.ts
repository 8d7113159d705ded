import { crc32 } from 'node:zlib';
import { readU64, writeU64 } from './integers.ts';

/**
 * The first 128 bytes of a segment; frames begin at `framesAt`.
 *
 *   0 magic "TAILRACE"     32 epoch u64              64 log id, 16 characters    112 crc u32 of bytes 0..112
 *   8 version u32          40 first offset u64       80 secret, 16 bytes         116 reserved
 *  12 framesAt u32         48 created, ms u64        96 marks: bytes u32
 *  16 generation u32       56 previous frame's crc   100 newest deletion dropped u32
 *  20 newest dropped u32   60 last frame's crc       104 last offset u64
 *  24 segment number u64
 *
 * What stands at 20, 60 and from 96 on is 0 unless rules have rewritten the segment: then its marks, which say what is
 * gone, lie between header and frames, and the header keeps what other segments and readers know it by. The two newest
 * are counted from the first offset, from 1.
 */
export const segmentHeaderBytes = 128;
export const formatVersion = 1;
/** Of a rewritten generation: who does not know of marks must not read it. */
export const rewrittenVersion = 2;
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
  /** What rules made of the segment; undefined while all of its records are there. */
  readonly rewritten?: Rewritten | undefined;
}

/** What a rewritten generation says of the records that are gone, and keeps of the segment as it was. */
export interface Rewritten {
  readonly marksBytes: number;
  /** Highest offset of a record that is gone, and of a deletion; 0 for none. */
  readonly newestDropped: number;
  readonly newestDeletion: number;
  /** Offsets up to here belong to the segment, whether their records are still there or not. */
  readonly lastOffset: number;
  /** Crc of the last frame before anything was dropped: the next segment names it. */
  readonly lastCrc: number;
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const buffer = Buffer.alloc(segmentHeaderBytes);
  buffer.write(magic, 0, 'latin1');
  buffer.writeUInt32LE(header.rewritten === undefined ? formatVersion : rewrittenVersion, 8);
  buffer.writeUInt32LE(header.framesAt, 12);
  buffer.writeUInt32LE(header.generation, 16);
  writeU64(buffer, header.number, 24);
  writeU64(buffer, header.epoch, 32);
  writeU64(buffer, header.firstOffset, 40);
  writeU64(buffer, header.created, 48);
  buffer.writeUInt32LE(header.previousCrc, 56);
  buffer.write(header.logId, 64, 16, 'latin1');
  buffer.set(header.secret, 80);
  if (header.rewritten !== undefined) writeRewritten(buffer, header.rewritten, header.firstOffset);
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
  if (version !== formatVersion && version !== rewrittenVersion)
    return `the segment has format version ${version}; this server reads ${formatVersion} and ${rewrittenVersion}`;
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
    rewritten: version === rewrittenVersion ? readRewritten(buffer) : undefined,
  };
}

function writeRewritten(buffer: Buffer, rewritten: Rewritten, firstOffset: number): void {
  const ahead = (offset: number): number => (offset === 0 ? 0 : offset - firstOffset + 1);
  buffer.writeUInt32LE(ahead(rewritten.newestDropped), 20);
  buffer.writeUInt32LE(rewritten.lastCrc, 60);
  buffer.writeUInt32LE(rewritten.marksBytes, 96);
  buffer.writeUInt32LE(ahead(rewritten.newestDeletion), 100);
  writeU64(buffer, rewritten.lastOffset, 104);
}

function readRewritten(buffer: Buffer): Rewritten {
  const firstOffset = readU64(buffer, 40);
  const offsetAt = (at: number): number => {
    const ahead = buffer.readUInt32LE(at);
    return ahead === 0 ? 0 : firstOffset + ahead - 1;
  };
  return {
    marksBytes: buffer.readUInt32LE(96),
    newestDropped: offsetAt(20),
    newestDeletion: offsetAt(100),
    lastOffset: readU64(buffer, 104),
    lastCrc: buffer.readUInt32LE(60),
  };
}

/**
 * What every checksum of a segment starts from: without the log's secret no payload can be made to look like a frame,
 * and with the number no frame of another segment passes,
 * with the generation none of the file that a rewritten one replaces.
 */
export function segmentSeed({ secret, number, generation, rewritten }: SegmentHeader): number {
  const buffer = Buffer.alloc(rewritten === undefined ? 8 : 12);
  writeU64(buffer, number, 0);
  if (rewritten !== undefined) buffer.writeUInt32LE(generation, 8);
  return crc32(buffer, crc32(secret));
}
