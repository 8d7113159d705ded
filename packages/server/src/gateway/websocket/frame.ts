import { isCloseCode } from './close-code.ts';
import { FIN, MAX_CONTROL_PAYLOAD, Opcode } from './opcode.ts';

/** Bytes of the header of an unmasked server frame: 2, 4 or 10 (RFC 6455 §5.1, §5.2). */
export function headerLength(payloadLength: number): 2 | 4 | 10 {
  if (payloadLength < 126) return 2;
  return payloadLength <= 0xffff ? 4 : 10;
}

/**
 * Writes the header of an unfragmented server frame and returns where the payload begins. `target` must have
 * `headerLength(payloadLength)` bytes from `at` on: a hot path reserves them and writes the payload behind.
 */
export function writeHeader(target: Buffer, at: number, opcode: Opcode, payloadLength: number): number {
  target[at] = FIN | opcode;
  if (payloadLength < 126) {
    target[at + 1] = payloadLength;
    return at + 2;
  }
  if (payloadLength <= 0xffff) {
    target[at + 1] = 126;
    return target.writeUInt16BE(payloadLength, at + 2);
  }
  target[at + 1] = 127;
  target.writeUInt32BE(Math.floor(payloadLength / 0x1_0000_0000), at + 2);
  return target.writeUInt32BE(payloadLength % 0x1_0000_0000, at + 6);
}

/** One text frame (RFC 6455 §5.6). `payload` must be valid UTF-8. */
export function encodeText(payload: Uint8Array): Buffer {
  return encode(Opcode.text, payload);
}

/** A ping of at most 125 bytes (RFC 6455 §5.5.2). */
export function encodePing(payload: Uint8Array = new Uint8Array(0)): Buffer {
  return encodeControl(Opcode.ping, payload);
}

/** The answer to a ping: carries the ping's own payload, at most 125 bytes (RFC 6455 §5.5.3). */
export function encodePong(payload: Uint8Array): Buffer {
  return encodeControl(Opcode.pong, payload);
}

/**
 * A close frame (RFC 6455 §5.5.1). Without `code` it has no body and the peer sees 1005. A reason longer than 123
 * bytes of UTF-8 is cut between two characters. Throws RangeError for a code that may not be sent (§7.4).
 */
export function encodeClose(code?: number, reason = ''): Buffer {
  if (code === undefined) return encodeControl(Opcode.close, new Uint8Array(0));
  if (!isCloseCode(code))
    throw new RangeError(`close code ${code} may not be sent: use 1000–1014 without 1004–1006, or 3000–4999`);
  const body = Buffer.alloc(MAX_CONTROL_PAYLOAD);
  body.writeUInt16BE(code, 0);
  // encodeInto never writes a part of a character
  const { written } = new TextEncoder().encodeInto(reason, body.subarray(2));
  return encodeControl(Opcode.close, body.subarray(0, 2 + written));
}

function encodeControl(opcode: Opcode, payload: Uint8Array): Buffer {
  if (payload.length > MAX_CONTROL_PAYLOAD) {
    throw new RangeError(`control frame of ${payload.length} bytes: at most ${MAX_CONTROL_PAYLOAD} are allowed`);
  }
  return encode(opcode, payload);
}

function encode(opcode: Opcode, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headerLength(payload.length) + payload.length);
  frame.set(payload, writeHeader(frame, 0, opcode, payload.length));
  return frame;
}
