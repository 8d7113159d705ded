// What every scenario publishes, 130 bytes unless it says otherwise:
//
//   {"stamp":"¶000123456789","text":"..........................."}
//             │└ microseconds of the load process's clock when it was sent
//             └ C2 B6: its second byte is the marker, once a message and nowhere else
//
// All that servers put around a payload in SSE is ASCII, and in WebSocket text the only other bytes are frame headers,
// which `FrameReader` steps over. So one delivery is one marker byte, and no chunk border can cut it in two.

/** Bytes of a payload where a scenario does not say otherwise. */
export const usualPayload = 130;
export const marker = 0xb6;

export const stampDigits = 12;
const prefix = '{"stamp":"¶';
const sentence = 'a real-time push server, measured ';
const frame = `${prefix}${'0'.repeat(stampDigits)}","text":""}`;

/** Where the stamp's digits begin in the payload. */
export const stampStart: number = Buffer.byteLength(prefix);

export function makePayload(length: number = usualPayload): Buffer {
  const space = length - Buffer.byteLength(frame);
  if (space < 0) throw new Error(`a payload cannot have ${length} bytes`);
  const text = sentence.repeat(Math.ceil(space / sentence.length)).slice(0, space);
  return Buffer.from(frame.replace('"text":""', `"text":"${text}"`));
}

/** Microseconds since this process began. */
export function now(): number {
  return Math.round(performance.now() * 1000);
}

/** Hot: once a publish. */
export function writeStamp(buffer: Buffer, at: number, microseconds: number): void {
  let left = microseconds;
  for (let index = at + stampDigits - 1; index >= at; index--) {
    const quotient = Math.floor(left / 10);
    buffer[index] = 48 + left - quotient * 10;
    left = quotient;
  }
}

/** Hot: once a sampled delivery. -1 when the digits do not all lie before `end`. */
export function readStamp(buffer: Buffer, at: number, end: number): number {
  if (at + stampDigits > end) return -1;
  let value = 0;
  for (let index = at; index < at + stampDigits; index++) {
    const digit = buffer[index]! - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}
