import { crc32 } from 'node:zlib';
import { readU64, writeU64 } from '../segment/integers.ts';

/**
 * The index of a sealed segment, `<segment>.idx`. Every part is checked by a crc of its own, since none but the footer,
 * the ended topics and the Bloom filter is read before it is needed.
 *
 *  ┌───────────────────────────┬──────────────────┬────────┬────────┬───────┬───────┬────────┐
 *  │ directory: blocks of      │ postings: lists  │ fences │ sparse │ ended │ bloom │ footer │
 *  │ topics in order, ~4 KiB   │ of u32 positions │        │ index  │       │       │ 256 B  │
 *  └───────────────────────────┴──────────────────┴────────┴────────┴───────┴───────┴────────┘
 *    block: crc u32, bytes u32, entries u32, entries
 *    entry: topic number u32, records u32, first posting u32 (or the position itself when there is one record),
 *           crc of the list u32, last offset − first offset u32, last time f64, topic bytes u16, topic
 *    fences: the place and the first topic of each block
 */
export const indexFooterBytes = 256;
export const directoryBlockBytes = 4096;
export const blockHeaderBytes = 12;
export const entryHeaderBytes = 30;
const magic = 'TRIDX002';

/** A stretch of the index file with its crc. */
export interface IndexPart {
  readonly at: number;
  readonly bytes: number;
  readonly crc: number;
}

export interface IndexFooter {
  readonly generation: number;
  readonly number: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly records: number;
  readonly remembered: number;
  /** Records with an id. */
  readonly ids: number;
  /** Length of the segment file; crc and place of its last frame. */
  readonly length: number;
  readonly lastCrc: number;
  readonly lastFrameAt: number;
  readonly firstTime: number;
  readonly lastTime: number;
  readonly topics: number;
  /** Topic numbers are below this. */
  readonly numbers: number;
  readonly postingsAt: number;
  readonly fences: IndexPart;
  readonly sparse: IndexPart;
  readonly ended: IndexPart;
  readonly bloom: IndexPart;
}

export function encodeIndexFooter(footer: IndexFooter): Buffer {
  const buffer = Buffer.alloc(indexFooterBytes);
  buffer.write(magic, 0, 'latin1');
  buffer.writeUInt32LE(footer.generation, 12);
  const wide = [
    footer.number,
    footer.firstOffset,
    footer.lastOffset,
    footer.records,
    footer.remembered,
    footer.length,
    footer.firstTime,
    footer.lastTime,
    footer.topics,
    footer.numbers,
    footer.postingsAt,
    footer.lastCrc,
    footer.lastFrameAt,
    footer.ids + 1,
  ];
  wide.forEach((value, i) => {
    writeU64(buffer, value, 16 + i * 8);
  });
  [footer.fences, footer.sparse, footer.ended, footer.bloom].forEach((part, i) => {
    writeU64(buffer, part.at, 128 + i * 24);
    writeU64(buffer, part.bytes, 136 + i * 24);
    buffer.writeUInt32LE(part.crc, 144 + i * 24);
  });
  buffer.writeUInt32LE(crc32(buffer.subarray(12)), 8);
  return buffer;
}

/** Undefined when it is damaged or none. */
export function decodeIndexFooter(buffer: Buffer): IndexFooter | undefined {
  if (buffer.length !== indexFooterBytes || buffer.toString('latin1', 0, 8) !== magic) return undefined;
  if (crc32(buffer.subarray(12)) !== buffer.readUInt32LE(8)) return undefined;
  const wide = (i: number) => readU64(buffer, 16 + i * 8);
  const part = (i: number): IndexPart => ({
    at: readU64(buffer, 128 + i * 24),
    bytes: readU64(buffer, 136 + i * 24),
    crc: buffer.readUInt32LE(144 + i * 24),
  });
  // an index made before ids were counted has 0: all that is remembered may have one
  const ids = wide(13) === 0 ? wide(4) : wide(13) - 1;
  return {
    generation: buffer.readUInt32LE(12),
    number: wide(0),
    firstOffset: wide(1),
    lastOffset: wide(2),
    records: wide(3),
    remembered: wide(4),
    ids,
    length: wide(5),
    firstTime: wide(6),
    lastTime: wide(7),
    topics: wide(8),
    numbers: wide(9),
    postingsAt: wide(10),
    lastCrc: wide(11),
    lastFrameAt: wide(12),
    fences: part(0),
    sparse: part(1),
    ended: part(2),
    bloom: part(3),
  };
}

/** One topic in the directory of a sealed segment. */
export interface DirectoryEntry {
  readonly topic: string;
  readonly number: number;
  readonly count: number;
  readonly posting: number;
  readonly postingCrc: number;
  readonly lastOffset: number;
  readonly lastTime: number;
}

/** Calls `visit` with each topic of a block and its number, and makes nothing else of them; false when it is damaged. */
export function visitBlock(buffer: Buffer, visit: (topic: string, number: number) => void): boolean {
  if (!blockIsWhole(buffer)) return false;
  let at = blockHeaderBytes;
  for (let i = buffer.readUInt32LE(8); i > 0; i--) {
    const end = at + entryHeaderBytes + buffer.readUInt16LE(at + 28);
    visit(buffer.toString('utf8', at + entryHeaderBytes, end), buffer.readUInt32LE(at));
    at = end;
  }
  return true;
}

function blockIsWhole(buffer: Buffer): boolean {
  if (buffer.length < blockHeaderBytes || buffer.readUInt32LE(4) !== buffer.length) return false;
  return crc32(buffer.subarray(4)) === buffer.readUInt32LE(0);
}

/** Reads a directory block, its header included; undefined when it is damaged. */
export function decodeBlock(buffer: Buffer, firstOffset: number): DirectoryEntry[] | undefined {
  if (!blockIsWhole(buffer)) return undefined;
  const entries: DirectoryEntry[] = [];
  let at = blockHeaderBytes;
  for (let i = buffer.readUInt32LE(8); i > 0; i--) {
    const topicBytes = buffer.readUInt16LE(at + 28);
    entries.push({
      topic: buffer.toString('utf8', at + entryHeaderBytes, at + entryHeaderBytes + topicBytes),
      number: buffer.readUInt32LE(at),
      count: buffer.readUInt32LE(at + 4),
      posting: buffer.readUInt32LE(at + 8),
      postingCrc: buffer.readUInt32LE(at + 12),
      lastOffset: firstOffset + buffer.readUInt32LE(at + 16),
      lastTime: buffer.readDoubleLE(at + 20),
    });
    at += entryHeaderBytes + topicBytes;
  }
  return entries;
}
