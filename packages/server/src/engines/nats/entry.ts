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

/**
 * What somebody else wrote comes as it is: who reads entries knows that it is none. `stored`: when the server stored it, ns
 * since 1970, where that time counts.
 */
export function decodeEntry(offset: number, { buffer, byteOffset, length }: Uint8Array, stored?: number): Entry {
  const data = Buffer.from(buffer as ArrayBuffer, byteOffset, length);
  if (length < timeBytes) return { offset, time: 0, bytes: data };
  const time = stored === undefined ? data.readDoubleBE() : Math.floor(stored / 1e6);
  return { offset, time, bytes: data.subarray(timeBytes) };
}
