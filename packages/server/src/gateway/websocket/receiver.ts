import { isUtf8 } from 'node:buffer';
import { CloseCode, isCloseCode } from './close-code.ts';
import { brokenRule } from './frame-rules.ts';
import { Gathered } from './gathered.ts';
import { rotateKey, unmask } from './mask.ts';
import { FIN, Opcode } from './opcode.ts';

/** What one message from a client may cost. One object is shared by all connections. */
export interface ReceiverLimits {
  /** Bytes of a message, over all its fragments. Refused with 1009 as soon as a header announces more. */
  readonly maxMessageBytes: number;
  /** Frames of a message; empty ones count too. Refused with 1008. */
  readonly maxFragments: number;
}

export const defaultReceiverLimits: ReceiverLimits = Object.freeze({
  maxMessageBytes: 1024 * 1024,
  maxFragments: 1024,
});

/**
 * Where the parts of one connection's input go. Every `Buffer` is the callee's to read during the call: it may be a
 * view of the received chunk, so what is kept longer must be copied. After `onClose` or `onError` nothing follows.
 */
export interface ReceiverSink {
  readonly limits: ReceiverLimits;
  /** A whole message; text is valid UTF-8 (RFC 6455 §5.6, §8.1). */
  onMessage(data: Buffer, isBinary: boolean): void;
  /** To be answered by a pong with the same data (RFC 6455 §5.5.2). At most 125 bytes. */
  onPing(data: Buffer): void;
  /** At most 125 bytes (RFC 6455 §5.5.3). */
  onPong(data: Buffer): void;
  /** The client's close frame (RFC 6455 §5.5.1); `undefined` when it carries no code. */
  onClose(code: number | undefined, reason: string): void;
  /** The client broke the protocol or a limit: fail the connection with this close code (RFC 6455 §7.1.7). */
  onError(code: number, reason: string): void;
}

// 2 bytes, 8 bytes of length, 4 bytes of masking key
const MAX_HEADER = 14;

const INCOMPLETE = 0;
const REFUSED = -1;

/**
 * What is known in the middle of a frame or message of one connection:
 *
 *     ┌──────────── header ───────────┐┌──────── payload ────────┐
 *     │ flags │ length │ masking key  ││ received  │  remaining   │
 *     └───────────────────────────────┘└─────────────────────────┘
 *       partialHeader, until complete     control    (ping, pong, close: may come between two fragments)
 *                                         body       (text, binary: all fragments so far)
 */
export class Receiver {
  /** Nothing more is delivered: an error was reported or a close frame came. */
  ended = false;

  private partialHeader: Uint8Array | null = null;
  private partialHeaderLength = 0;

  private inPayload = false;
  private first = 0;
  private remaining = 0;
  private key = 0;
  private control: Gathered | null = null;

  /** Opcode of the message under way, 0 between messages. */
  private messageOpcode = 0;
  private fragments = 0;
  private body: Gathered | null = null;

  /** Between two messages nothing has to be remembered. */
  get idle(): boolean {
    return !this.inPayload && this.messageOpcode === 0 && this.partialHeader === null && !this.ended;
  }

  read(chunk: Buffer, sink: ReceiverSink): void {
    let at = 0;
    while (!this.ended) {
      if (!this.inPayload) {
        at = this.readHeader(chunk, at, sink);
        if (!this.inPayload) return;
      }
      at = this.readPayload(chunk, at, sink);
      if (this.inPayload) return;
    }
  }

  /** Returns where the payload begins, or anything when `inPayload` stays false: the chunk is used up or refused. */
  private readHeader(chunk: Buffer, start: number, sink: ReceiverSink): number {
    let at = start;
    if (this.partialHeader === null) {
      const length = this.parseHeader(chunk, at, chunk.length, sink);
      if (length !== INCOMPLETE || at === chunk.length) return at + length;
      this.partialHeader = new Uint8Array(MAX_HEADER);
    }
    while (at < chunk.length) {
      this.partialHeader[this.partialHeaderLength++] = chunk[at++]!;
      if (this.parseHeader(this.partialHeader, 0, this.partialHeaderLength, sink) === INCOMPLETE) continue;
      this.partialHeader = null;
      this.partialHeaderLength = 0;
      break;
    }
    return at;
  }

  /** Returns the length of the header that begins at `at`, INCOMPLETE or REFUSED; each rule as soon as it can be judged. */
  private parseHeader(bytes: Uint8Array, at: number, end: number, sink: ReceiverSink): number {
    if (end - at < 2) return INCOMPLETE;
    const first = bytes[at]!;
    const second = bytes[at + 1]!;
    const broken = brokenRule(first, second, this.messageOpcode !== 0);
    if (broken !== null) return this.refuse(sink, CloseCode.protocolError, broken);

    let length = second & 0x7f;
    let keyAt = at + 2;
    if (length === 126) {
      if (end < (keyAt = at + 4)) return INCOMPLETE;
      length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
      if (length < 126) return this.refuse(sink, CloseCode.protocolError, 'length not in its shortest form');
    } else if (length === 127) {
      if (end < (keyAt = at + 10)) return INCOMPLETE;
      const high = uint32(bytes, at + 2);
      if (high > 0x7fff_ffff) return this.refuse(sink, CloseCode.protocolError, 'length with its highest bit set');
      // inexact above 2^53, which is over any limit all the same
      length = high * 0x1_0000_0000 + uint32(bytes, at + 6);
      if (length <= 0xffff) return this.refuse(sink, CloseCode.protocolError, 'length not in its shortest form');
    }

    const isData = (first & 0x0f) < Opcode.close;
    if (isData && !this.hasRoom(length, sink)) return REFUSED;
    if (end < keyAt + 4) return INCOMPLETE;

    this.first = first;
    this.remaining = length;
    this.key = uint32(bytes, keyAt) | 0;
    this.inPayload = true;
    if (isData) {
      this.fragments++;
      if (this.messageOpcode === 0) this.messageOpcode = first & 0x0f;
    }
    return keyAt + 4 - at;
  }

  private hasRoom(length: number, sink: ReceiverSink): boolean {
    const { maxMessageBytes, maxFragments } = sink.limits;
    if (this.bodyLength + length > maxMessageBytes) {
      this.refuse(sink, CloseCode.tooBig, `message larger than ${maxMessageBytes} bytes`);
      return false;
    }
    if (this.fragments >= maxFragments) {
      this.refuse(sink, CloseCode.policyViolation, `message in more than ${maxFragments} fragments`);
      return false;
    }
    return true;
  }

  private readPayload(chunk: Buffer, at: number, sink: ReceiverSink): number {
    const end = Math.min(chunk.length, at + this.remaining);
    unmask(chunk, at, end, this.key);
    this.key = rotateKey(this.key, end - at);
    this.remaining -= end - at;
    if ((this.first & 0x0f) >= Opcode.close) this.readControl(chunk, at, end, sink);
    else this.readData(chunk, at, end, sink);
    return end;
  }

  private readControl(chunk: Buffer, at: number, end: number, sink: ReceiverSink): void {
    const whole = this.control === null && this.remaining === 0;
    if (whole) {
      this.endControl(chunk.subarray(at, end), sink);
      return;
    }
    this.control ??= new Gathered();
    this.control.append(chunk, at, end, this.control.length + end - at + this.remaining);
    if (this.remaining > 0) return;
    const data = this.control.take();
    this.control = null;
    this.endControl(data, sink);
  }

  private endControl(data: Buffer, sink: ReceiverSink): void {
    this.inPayload = false;
    const opcode = this.first & 0x0f;
    if (opcode === Opcode.ping) sink.onPing(data);
    else if (opcode === Opcode.pong) sink.onPong(data);
    else this.endClose(data, sink);
  }

  private endClose(data: Buffer, sink: ReceiverSink): void {
    if (data.length === 0) {
      this.ended = true;
      sink.onClose(undefined, '');
      return;
    }
    const code = data.readUInt16BE(0);
    const reason = data.subarray(2);
    if (!isCloseCode(code)) {
      this.refuse(sink, CloseCode.protocolError, `close code ${code} may not be sent`);
    } else if (!isUtf8(reason)) {
      this.refuse(sink, CloseCode.invalidData, 'close reason is not UTF-8');
    } else {
      this.ended = true;
      sink.onClose(code, reason.toString());
    }
  }

  private readData(chunk: Buffer, at: number, end: number, sink: ReceiverSink): void {
    const last = (this.first & FIN) !== 0;
    const whole = last && this.body === null && this.remaining === 0;
    if (whole) {
      this.endMessage(chunk.subarray(at, end), sink);
      return;
    }
    if (end > at) {
      this.body ??= new Gathered();
      const atMost = last ? this.body.length + end - at + this.remaining : sink.limits.maxMessageBytes;
      this.body.append(chunk, at, end, atMost);
    }
    if (this.remaining > 0) return;
    if (last) this.endMessage(this.body!.take(), sink);
    else this.inPayload = false;
  }

  private endMessage(data: Buffer, sink: ReceiverSink): void {
    const isBinary = this.messageOpcode === Opcode.binary;
    this.inPayload = false;
    this.messageOpcode = 0;
    this.fragments = 0;
    this.body = null;
    if (!isBinary && !isUtf8(data)) this.refuse(sink, CloseCode.invalidData, 'text is not UTF-8');
    else sink.onMessage(data, isBinary);
  }

  private get bodyLength(): number {
    return this.body === null ? 0 : this.body.length;
  }

  private refuse(sink: ReceiverSink, code: number, reason: string): typeof REFUSED {
    this.ended = true;
    sink.onError(code, reason);
    return REFUSED;
  }
}

/** The state of a connection that was refused or closed: whatever else arrives is ignored (RFC 6455 §5.5.1, §7.1.7). */
export const ENDED: Receiver = new Receiver();
ENDED.ended = true;

// One idle receiver serves every connection whose chunk holds only whole frames, which is nearly all of them.
let spare: Receiver | null = null;

/**
 * Reads the next bytes of a client (RFC 6455 §5, §6.2) and returns the state to pass with the following ones: null
 * between two messages, so that an idle connection holds nothing. `chunk` is unmasked in place. Should `sink` throw,
 * the state is unknown and the connection has to be cut.
 */
export function receive(state: Receiver | null, chunk: Buffer, sink: ReceiverSink): Receiver | null {
  let receiver = state;
  if (receiver === null) {
    receiver = spare ?? new Receiver();
    // while the sink runs it is taken: the sink may call `receive` for another connection
    spare = null;
  }
  receiver.read(chunk, sink);
  if (receiver.ended) return ENDED;
  if (!receiver.idle) return receiver;
  spare = receiver;
  return null;
}

function uint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
