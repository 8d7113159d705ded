import { FIN, MAX_CONTROL_PAYLOAD, Opcode } from './opcode.ts';

const RESERVED = 0x70;
const MASK = 0x80;

/**
 * The rule that the first two bytes of a client's frame break, or null (RFC 6455 §5.1, §5.2, §5.4, §5.5).
 * `midMessage`: an earlier frame began a message that is not finished.
 */
export function brokenRule(first: number, second: number, midMessage: boolean): string | null {
  if ((first & RESERVED) !== 0) return 'reserved bits set although no extension was negotiated';
  if ((second & MASK) === 0) return 'frame from the client is not masked';
  switch (first & 0x0f) {
    case Opcode.continuation:
      return midMessage ? null : 'continuation frame without a message to continue';
    case Opcode.text:
    case Opcode.binary:
      return midMessage ? 'new message before the last one was finished' : null;
    case Opcode.close:
    case Opcode.ping:
    case Opcode.pong:
      return brokenControlRule(first, second & 0x7f);
    default:
      return 'unknown opcode';
  }
}

function brokenControlRule(first: number, length: number): string | null {
  if ((first & FIN) === 0) return 'fragmented control frame';
  if (length > MAX_CONTROL_PAYLOAD) return 'control frame longer than 125 bytes';
  if ((first & 0x0f) === Opcode.close && length === 1) return 'close frame with half a close code';
  return null;
}
