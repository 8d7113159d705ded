// Counting deliveries by scanning bytes. Hot: five million deliveries a second pass here, on one core.
import { Histogram } from '../histogram.ts';
import { marker, now, readStamp, usualPayload } from './payload.ts';

// One buffer for all sockets: libuv reads and calls back before it reads the next. The byte behind it is for the
// sentinel, which ends a search at the end of a chunk instead of in the stale bytes of an earlier, longer one.
const readLength = 256 * 1024;
export const readBuffer: Buffer = Buffer.allocUnsafeSlow(readLength + 1);
/** What sockets read into (`onread.buffer`). */
export const readTarget: Buffer = readBuffer.subarray(0, readLength);

// Two markers are at least one payload apart. So a distance below two payloads has no third marker inside, and where
// the byte one such distance on is a marker again, it is the next one: no search needed (0.6 ns instead of 24).
let payloadLength: number;
let longestStride: number;
let stride: number;
expectPayloads(usualPayload);

/**
 * How long the payloads are that come from now on. Shorter than they are costs time, longer miscounts: whoever changes
 * it sees to it that nothing of before is under way.
 */
export function expectPayloads(length: number): void {
  payloadLength = length;
  longestStride = 2 * length - 1;
  stride = length;
}

/** Ends every search of this chunk. Call once a chunk, before counting. */
export function placeSentinel(length: number): void {
  readBuffer[length] = marker;
}

/** `readBuffer[0, length)` as text, one character a byte. */
export function readText(length: number): string {
  return readBuffer.toString('latin1', 0, length);
}

/** Number of markers in `readBuffer[from, to)`. */
export function countMarkers(from: number, to: number): number {
  let count = 0;
  for (let at = firstMarker(from, to); at !== -1; at = nextMarker(at, to)) count++;
  return count;
}

/** Where the first marker in `readBuffer[from, to)` is, or -1. */
export function firstMarker(from: number, to: number): number {
  const found = readBuffer.indexOf(marker, from);
  return found < to ? found : -1;
}

/** Where the next marker after the one at `at` is, before `to`, or -1. Hot. */
export function nextMarker(at: number, to: number): number {
  const expected = at + stride;
  if (expected < to && readBuffer[expected] === marker) return expected;
  if (at + payloadLength >= to) return -1;
  const found = readBuffer.indexOf(marker, at + payloadLength);
  if (found >= to || found === -1) return -1;
  if (found - at <= longestStride) stride = found - at;
  return found;
}

/** Publish-to-receive times. Records only while a window is open. */
export class LatencySamples {
  histogram: Histogram = new Histogram();
  open = false;

  /** Reads the stamps in `readBuffer[from, to)`; one that the chunk's border cuts is left out. */
  take(from: number, to: number): void {
    const received = now();
    for (let at = firstMarker(from, to); at !== -1; at = nextMarker(at, to)) {
      const sent = readStamp(readBuffer, at + 1, to);
      if (sent !== -1) this.histogram.record(received - sent);
    }
  }
}
