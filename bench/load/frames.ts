// Steps over WebSocket frame headers (RFC 6455 §5.2), so that only payload bytes are scanned: a length byte could be
// equal to the marker. Server frames are never masked.
import { countMarkers, readBuffer } from './counting.ts';

const longestHeader = 10;
const opcode = { text: 1, close: 8, ping: 9 } as const;
const mask = Buffer.alloc(4); // all zero: masked as the RFC demands, and readable as it is

export class FrameReader {
  /** Pings seen and not yet answered. */
  pings = 0;
  closed = false;
  #opcode = 0;
  #left = 0;
  // a header that a chunk's border cut in two; filled only then
  #partial: number[] = [];

  /** Number of markers in the payloads of `readBuffer[from, to)`. Hot. */
  count(from: number, to: number): number {
    let count = 0;
    let at = from;
    while (at < to) {
      if (this.#left === 0) {
        at = this.#header(at, to);
        continue;
      }
      const end = Math.min(to, at + this.#left);
      if (this.#opcode < opcode.close) count += countMarkers(at, end);
      this.#left -= end - at;
      at = end;
    }
    return count;
  }

  /** Reads a header at `at`; answers where it ends, or `to` when it is not whole yet. */
  #header(at: number, to: number): number {
    if (this.#partial.length === 0 && to - at >= longestHeader) return at + this.#begin(readBuffer, at);
    let next = at;
    while (next < to) {
      this.#partial.push(readBuffer[next++]!);
      if (this.#partial.length >= 2 && this.#partial.length === headerLength(this.#partial[1]!)) {
        this.#begin(Buffer.from(this.#partial), 0);
        this.#partial = [];
        break;
      }
    }
    return next;
  }

  #begin(bytes: Buffer, at: number): number {
    const second = bytes[at + 1]!;
    if (second & 0x80) throw new Error('the server sent a masked frame');
    this.#opcode = bytes[at]! & 0x0f;
    this.#left = second < 126 ? second : second === 126 ? bytes.readUInt16BE(at + 2) : bytes.readUIntBE(at + 4, 6);
    if (this.#opcode === opcode.ping) this.pings++;
    if (this.#opcode === opcode.close) this.closed = true;
    return headerLength(second);
  }
}

function headerLength(second: number): number {
  return second < 126 ? 2 : second === 126 ? 4 : 10;
}

export const pong: Buffer = Buffer.concat([Buffer.from([0x8a, 0x80]), mask]);

export function textFrame(text: string): Buffer {
  const payload = Buffer.from(text);
  const length =
    payload.length < 126
      ? Buffer.from([0x80 | payload.length])
      : Buffer.from([0xfe, payload.length >> 8, payload.length]);
  return Buffer.concat([Buffer.from([0x80 | opcode.text]), length, mask, payload]);
}
