import { crc32 } from 'node:zlib';

/** Bytes from which the native function is faster, whose call and view cost as much as a loop over so many. */
const nativeFrom = 256;

/** Eight tables of 256: table k leads k bytes further (slicing by 8). */
const tables: Int32Array = new Int32Array(8 * 256);
for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  tables[byte] = crc;
}
for (let at = 256; at < tables.length; at++) {
  const before = tables[at - 256]!;
  tables[at] = (before >>> 8) ^ tables[before & 255]!;
}

/** `crc32` of the bytes from `start` to `end` of a buffer, `view` being a view of all of it. Hot. */
export function crcOf(buffer: Buffer, view: DataView, start: number, end: number, seed: number): number {
  if (end - start >= nativeFrom) return crc32(buffer.subarray(start, end), seed);
  let crc = ~seed;
  let at = start;
  for (; at + 8 <= end; at += 8) {
    const low = crc ^ view.getInt32(at, true);
    const high = view.getInt32(at + 4, true);
    crc =
      tables[1792 + (low & 255)]! ^
      tables[1536 + ((low >>> 8) & 255)]! ^
      tables[1280 + ((low >>> 16) & 255)]! ^
      tables[1024 + (low >>> 24)]! ^
      tables[768 + (high & 255)]! ^
      tables[512 + ((high >>> 8) & 255)]! ^
      tables[256 + ((high >>> 16) & 255)]! ^
      tables[high >>> 24]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ tables[(crc ^ buffer[at]!) & 255]!;
  return ~crc >>> 0;
}
