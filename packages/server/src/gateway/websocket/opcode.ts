/** Frame opcodes (RFC 6455 §5.2). The others are reserved; 0x8 and above are control frames. */
export const Opcode = {
  continuation: 0x0,
  text: 0x1,
  binary: 0x2,
  close: 0x8,
  ping: 0x9,
  pong: 0xa,
} as const;

export type Opcode = (typeof Opcode)[keyof typeof Opcode];

/** The first byte of a frame has this bit when the frame is the last one of its message (RFC 6455 §5.2). */
export const FIN = 0x80;

/** The most a control frame may carry, in bytes; a control frame is never fragmented (RFC 6455 §5.5). */
export const MAX_CONTROL_PAYLOAD = 125;
