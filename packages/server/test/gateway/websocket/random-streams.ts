import fc from 'fast-check';
import { type ClientFrame, clientFrame } from './client-frames.ts';
import { cut, type WireEvent } from './recorder.ts';

/** Frames that keep every rule, and what has to come out of them. */
export interface ValidStream {
  readonly bytes: Buffer;
  readonly events: readonly WireEvent[];
}

interface Piece {
  readonly frames: readonly ClientFrame[];
  readonly events: readonly WireEvent[];
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

const mask = fc.uint8Array({ minLength: 4, maxLength: 4 });

const control: fc.Arbitrary<Piece> = fc
  .record({ isPing: fc.boolean(), payload: fc.uint8Array({ maxLength: 125 }), mask })
  .map(({ isPing, payload, mask }) => ({
    frames: [{ opcode: isPing ? 9 : 10, payload, mask }],
    events: [{ type: isPing ? 'ping' : 'pong', data: latin1(payload) }],
  }));

const payload = fc.oneof(
  { weight: 40, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  { weight: 8, arbitrary: fc.integer({ min: 55, max: 400 }).map(length => 'µ'.repeat(length)) },
  { weight: 1, arbitrary: fc.integer({ min: 32_700, max: 32_800 }).map(length => 'µ'.repeat(length)) },
);

// the bytes of text are cut anywhere, inside characters too
const message: fc.Arbitrary<Piece> = fc
  .record({
    opcode: fc.constantFrom(1, 2),
    payload,
    places: places(4),
    between: fc.array(control, { maxLength: 3 }),
    mask,
  })
  .map(({ opcode, payload, places, between, mask }) => {
    const data = Buffer.from(payload);
    const pieces = cut(data, places);
    const frames: ClientFrame[] = [];
    const events: WireEvent[] = [];
    for (const [at, piece] of pieces.entries()) {
      frames.push({ opcode: at === 0 ? opcode : 0, payload: piece, fin: at === pieces.length - 1, mask });
      const following = between[at];
      if (at === pieces.length - 1 || following === undefined) continue;
      frames.push(...following.frames);
      events.push(...following.events);
    }
    return { frames, events: [...events, { type: opcode === 2 ? 'binary' : 'text', data: latin1(data) }] };
  });

const close: fc.Arbitrary<Piece> = fc
  .record({
    code: fc.option(fc.oneof(fc.constantFrom(1000, 1001, 1014), fc.integer({ min: 3000, max: 4999 })), {
      nil: undefined,
    }),
    reason: fc.string({ unit: 'grapheme-ascii', maxLength: 123 }),
    mask,
  })
  .map(({ code, reason, mask }) => {
    if (code === undefined) return { frames: [{ opcode: 8, mask }], events: [{ type: 'close', code, reason: '' }] };
    const payload = Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason)]);
    return { frames: [{ opcode: 8, payload, mask }], events: [{ type: 'close', code, reason }] };
  });

/** Messages and control frames, sometimes ended by a close frame. */
export const validStream: fc.Arbitrary<ValidStream> = fc
  .record({
    pieces: fc.array(fc.oneof({ weight: 3, arbitrary: message }, { weight: 1, arbitrary: control }), { maxLength: 8 }),
    end: fc.option(close),
  })
  .map(({ pieces, end }) => {
    const all = end === null ? pieces : [...pieces, end];
    return {
      bytes: Buffer.concat(all.flatMap(({ frames }) => frames.map(clientFrame))),
      events: all.flatMap(({ events }) => events),
    };
  });

/** Frames with any opcode, flag, length form and payload: nearly all break some rule. */
export const wildStream: fc.Arbitrary<Buffer> = fc
  .array(
    fc.record({
      opcode: fc.oneof(
        { weight: 9, arbitrary: fc.constantFrom(0, 0, 0, 1, 1, 2, 8, 9, 10) },
        { weight: 1, arbitrary: fc.integer({ min: 0, max: 15 }) },
      ),
      fin: fc.boolean(),
      rsv: fc.oneof(
        { weight: 30, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: 1, max: 7 }) },
      ),
      payload: fc.oneof(
        fc.string({ unit: 'binary', maxLength: 20 }).map(Buffer.from),
        fc.uint8Array({ maxLength: 130 }),
        closeBody(),
      ),
      mask: fc.oneof({ weight: 30, arbitrary: mask }, { weight: 1, arbitrary: fc.constant(null) }),
      lengthBits: fc.oneof(
        { weight: 30, arbitrary: fc.constant(null) },
        { weight: 1, arbitrary: fc.constantFrom(16, 64) },
      ),
    }),
    { maxLength: 10 },
  )
  .map(frames =>
    Buffer.concat(
      frames.map(({ lengthBits, ...frame }) =>
        clientFrame(lengthBits === null ? frame : { ...frame, lengthBits: lengthBits as 16 | 64 }),
      ),
    ),
  );

/** A valid stream in which bytes were changed, dropped or put in. */
export const mutatedStream: fc.Arbitrary<Buffer> = fc
  .record({
    stream: validStream,
    edits: fc.array(
      fc.record({
        place: fc.double({ min: 0, max: 1, noNaN: true }),
        drop: fc.nat({ max: 2 }),
        put: fc.uint8Array({ maxLength: 2 }),
      }),
      { minLength: 1, maxLength: 4 },
    ),
  })
  .map(({ stream, edits }) => {
    let bytes = stream.bytes;
    for (const { place, drop, put } of edits) {
      const at = Math.floor(place * bytes.length);
      bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + drop)]);
    }
    return bytes;
  });

/** Where to cut a stream into slices: see `cut`. */
export function places(maxLength: number): fc.Arbitrary<number[]> {
  return fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength });
}

function closeBody(): fc.Arbitrary<Buffer> {
  return fc
    .record({
      code: fc.oneof(fc.constantFrom(1000, 1004, 1005, 1015, 2999, 3000, 5000), fc.nat({ max: 0xffff })),
      reason: fc.uint8Array({ maxLength: 4 }),
    })
    .map(({ code, reason }) => Buffer.concat([Buffer.from([code >> 8, code & 0xff]), reason]));
}
