/** Frames as a client sends them, written without the code under test, and able to break every rule. */
export interface ClientFrame {
  readonly opcode: number;
  readonly payload?: Uint8Array | string;
  readonly fin?: boolean;
  /** The three reserved bits as a number from 0 to 7. */
  readonly rsv?: number;
  /** Four bytes; null sends the payload unmasked. */
  readonly mask?: Uint8Array | null;
  /** Bits of the length field; the shortest form unless given. */
  readonly lengthBits?: 7 | 16 | 64;
}

const DEFAULT_MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

export function clientFrame(frame: ClientFrame): Buffer {
  const { opcode, fin = true, rsv = 0, mask = DEFAULT_MASK } = frame;
  const payload = Buffer.from(frame.payload ?? '');
  const bits = frame.lengthBits ?? (payload.length < 126 ? 7 : payload.length < 65_536 ? 16 : 64);
  const header = [(fin ? 0x80 : 0) | (rsv << 4) | opcode];
  const maskBit = mask === null ? 0 : 0x80;
  if (bits === 7) header.push(maskBit | payload.length);
  else header.push(maskBit | (bits === 16 ? 126 : 127), ...lengthBytes(payload.length, bits / 8));
  if (mask === null) return Buffer.concat([Buffer.from(header), payload]);
  return Buffer.concat([Buffer.from([...header, ...mask]), payload.map((byte, at) => byte ^ mask[at % 4]!)]);
}

/** A whole text frame that carries this as JSON. */
export function textFrame(value: unknown): Buffer {
  return clientFrame({ opcode: 1, payload: JSON.stringify(value) });
}

/** A header that announces any 64-bit length, with no payload behind it. */
export function announce(opcode: number, length: bigint): Buffer {
  const header = Buffer.alloc(14);
  header[0] = 0x80 | opcode;
  header[1] = 0x80 | 127;
  header.writeBigUInt64BE(length, 2);
  return header;
}

export const text = (payload: Uint8Array | string): Buffer => clientFrame({ opcode: 1, payload });
export const binary = (payload: Uint8Array | string): Buffer => clientFrame({ opcode: 2, payload });
export const ping = (payload: Uint8Array | string = ''): Buffer => clientFrame({ opcode: 9, payload });
export const pong = (payload: Uint8Array | string = ''): Buffer => clientFrame({ opcode: 10, payload });

export function close(code?: number, reason: Uint8Array | string = ''): Buffer {
  if (code === undefined) return clientFrame({ opcode: 8 });
  return clientFrame({
    opcode: 8,
    payload: Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]),
  });
}

/** One message in as many frames as there are pieces; `between` is put in front of every frame but the first. */
export function fragmented(
  opcode: 1 | 2,
  pieces: readonly (Uint8Array | string)[],
  between: Uint8Array = Buffer.alloc(0),
): Buffer {
  return Buffer.concat(
    pieces.flatMap((payload, at) => [
      at === 0 ? Buffer.alloc(0) : between,
      clientFrame({ opcode: at === 0 ? opcode : 0, payload, fin: at === pieces.length - 1 }),
    ]),
  );
}

function lengthBytes(length: number, count: number): number[] {
  return Array.from({ length: count }, (_, at) => Math.floor(length / 256 ** (count - 1 - at)) % 256);
}
