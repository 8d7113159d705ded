import { crc32 } from 'node:zlib';
import { readU64, writeU64 } from './integers.ts';

/**
 * A frame is what is checked as a whole: some records that were written together, at most about 64 KiB unless one
 * record is larger. Several frames may go in one write; all of them are multiples of 8 bytes long. Behind the last record
 * of a write that goes past the page cache are zeros up to the border of a block, as part of the body.
 *
 *    0        8      12     16     24    32       40    48        52       56     64
 *  ┌─────┬─────┬──────┬─────┬──────┬─────┬────────┬─────┬────────┬─────────┬─────┬─────────┬─────────┬───┬───┐
 *  │magic│ crc │ body │count│ first│ last│ durable│ time│ body   │previous │ 0   │ record  │ record  │ … │ 0 │
 *  │     │     │ bytes│     │ offset     │ offset │     │ crc    │frame crc│     │         │         │   │pad│
 *  └─────┴──┬──┴──────┴─────┴──────┴─────┴────────┴─────┴───┬────┴─────────┴─────┴─────────┴─────────┴───┴───┘
 *           │  └──────────────── crc, seeded ───────────────│──────────────┘     └───── body crc, seeded ────┘
 *
 * `durable` is the newest offset known to be synced when the frame was written. A header that passes its crc can only
 * have been written by us, so it proves that everything up to `durable` was on disk: damage below it is corruption,
 * damage above it may be a write that never finished. The chain (`previous`) shows swapped and missing frames; it is no
 * part of what makes a frame valid, since a broken frame must not take those after it along.
 * An empty frame (count 0) only carries the durable offset.
 */
export const frameHeaderBytes = 64;
export const frameMagic: Buffer = Buffer.from([0xd7, 0x54, 0x52, 0x46]);
const magicNumber = frameMagic.readUInt32LE(0);

/** Records go on being added to a frame below this many bytes. */
export const frameTargetBytes: number = 64 * 1024;

/** Writes all of a header but what only the moment of writing knows: see `finishFrame`. Hot. */
export function writeFrame(
  buffer: Buffer,
  at: number,
  end: number,
  count: number,
  first: number,
  last: number,
  time: number,
  seed: number,
): void {
  buffer.writeUInt32LE(magicNumber, at);
  buffer.writeUInt32LE(end - at - frameHeaderBytes, at + 8);
  buffer.writeUInt32LE(count, at + 12);
  writeU64(buffer, first, at + 16);
  writeU64(buffer, last, at + 24);
  writeU64(buffer, time, at + 40);
  buffer.writeUInt32LE(crc32(buffer.subarray(at + frameHeaderBytes, end), seed), at + 48);
  buffer.writeUInt32LE(0, at + 56);
  buffer.writeUInt32LE(0, at + 60);
}

/** Adds the durable offset and the chain, and checks the header; returns its crc. Hot. */
export function finishFrame(buffer: Buffer, at: number, durable: number, previousCrc: number, seed: number): number {
  writeU64(buffer, durable, at + 32);
  buffer.writeUInt32LE(previousCrc, at + 52);
  const crc = crc32(buffer.subarray(at + 8, at + frameHeaderBytes), seed);
  buffer.writeUInt32LE(crc, at + 4);
  return crc;
}

/** A frame header as read; one object is used for many. */
export class FrameHeader {
  crc = 0;
  bodyBytes = 0;
  count = 0;
  first = 0;
  last = 0;
  durable = 0;
  time = 0;
  bodyCrc = 0;
  previousCrc = 0;

  /** Bytes of the whole frame. */
  get length(): number {
    return frameHeaderBytes + this.bodyBytes;
  }

  /** Reads the header at `at`, which the buffer must hold; false when it is none of this segment. */
  read(buffer: Buffer, at: number, seed: number): boolean {
    if (buffer.readUInt32LE(at) !== magicNumber) return false;
    const crc = buffer.readUInt32LE(at + 4);
    if (crc32(buffer.subarray(at + 8, at + frameHeaderBytes), seed) !== crc) return false;
    this.crc = crc;
    this.bodyBytes = buffer.readUInt32LE(at + 8);
    this.count = buffer.readUInt32LE(at + 12);
    this.first = readU64(buffer, at + 16);
    this.last = readU64(buffer, at + 24);
    this.durable = readU64(buffer, at + 32);
    this.time = readU64(buffer, at + 40);
    this.bodyCrc = buffer.readUInt32LE(at + 48);
    this.previousCrc = buffer.readUInt32LE(at + 52);
    return true;
  }

  /** Whether the body behind the header at `at` is whole; false as well when the buffer does not hold all of it. */
  bodyIsWhole(buffer: Buffer, at: number, seed: number): boolean {
    const end = at + this.length;
    return end <= buffer.length && crc32(buffer.subarray(at + frameHeaderBytes, end), seed) === this.bodyCrc;
  }
}

/** Position of the next header of this segment at or after `from`, into `header`; -1 when there is none. */
export function findFrame(buffer: Buffer, from: number, seed: number, header: FrameHeader): number {
  let at = buffer.indexOf(frameMagic, from);
  while (at !== -1 && at + frameHeaderBytes <= buffer.length) {
    if (at % 8 === 0 && header.read(buffer, at, seed)) return at;
    at = buffer.indexOf(frameMagic, at + 1);
  }
  return -1;
}
