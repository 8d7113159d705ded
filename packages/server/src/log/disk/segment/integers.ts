/** Safe integers in 8 bytes, little-endian. Two halves: BigInt reads allocate. */
export function writeU64(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32LE(value % 0x1_0000_0000, at);
  buffer.writeUInt32LE(Math.floor(value / 0x1_0000_0000), at + 4);
}

/** May exceed 2^53 when the bytes are damaged: callers check a crc or the range. */
export function readU64(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 0x1_0000_0000;
}

/** Rounds up to a multiple of 8. */
export function align8(value: number): number {
  return Math.ceil(value / 8) * 8;
}
