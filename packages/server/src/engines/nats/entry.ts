import type { Entry, NewEntry } from '../broker-partition.ts';

/** Before the bytes of an entry stands its time: a header would take four times as much. */
const timeBytes = 8;
/** What else a message may have: subject and headers. */
export const messageOverhead = 1024;

export function encodeEntry({ time, bytes }: NewEntry): Buffer {
  const data = Buffer.allocUnsafe(timeBytes + bytes.length);
  data.writeDoubleBE(time);
  bytes.copy(data, timeBytes);
  return data;
}

/** What somebody else wrote comes as it is: who reads entries knows that it is none. */
export function decodeEntry(offset: number, { buffer, byteOffset, length }: Uint8Array): Entry {
  const data = Buffer.from(buffer as ArrayBuffer, byteOffset, length);
  if (length < timeBytes) return { offset, time: 0, bytes: data };
  return { offset, time: data.readDoubleBE(), bytes: data.subarray(timeBytes) };
}
