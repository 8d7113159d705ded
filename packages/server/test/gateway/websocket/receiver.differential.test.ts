import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ReceiverLimits } from '../../../src/gateway/websocket/receiver.ts';
import { announce, clientFrame, close, fragmented, text } from './client-frames.ts';
import { mutatedStream, places, validStream, wildStream } from './random-streams.ts';
import { bytewise, cut, record, type WireEvent } from './recorder.ts';
import { recordWs } from './ws-receiver.ts';

// The receiver of `ws` is read by millions of clients: where it and ours differ, one of them is wrong, except in three
// places where we are knowingly stricter or earlier:
//
//   1. a length that is not in its shortest form: RFC 6455 §5.2 says it MUST be, ws takes it, we answer 1002;
//   2. a 64-bit length with its highest bit set: §5.2 says it MUST be 0, ws answers 1009 (too large), we 1002;
//   3. one fragment too many: both answer 1008, ws when the fragment's payload is complete, we at its header.

const limits: ReceiverLimits = { maxMessageBytes: 100_000, maxFragments: 8 };
const tightLimits: ReceiverLimits = { maxMessageBytes: 300, maxFragments: 4 };

function wsOptions({ maxMessageBytes, maxFragments }: ReceiverLimits) {
  return { isServer: true, maxPayload: maxMessageBytes, maxFragments };
}

function compare(slices: readonly Uint8Array[], within = limits): { events: WireEvent[]; stricter: boolean } {
  const { events } = record(slices, within);
  const theirs = recordWs(slices, wsOptions(within));
  const stricter = isStricter(events, theirs, Buffer.concat(slices));
  // `expect` alone takes longer than both receivers
  if (!stricter && !isDeepStrictEqual(events, theirs)) expect(events).toEqual(theirs);
  return { events, stricter };
}

function isStricter(ours: readonly WireEvent[], theirs: readonly WireEvent[], stream: Buffer): boolean {
  const last = ours.at(-1);
  if (last?.type !== 'error') return false;
  const before = ours.slice(0, -1);
  if (last.code === 1008 && theirs.length === before.length) {
    expect(theirs).toEqual(before);
    return true;
  }
  if (last.code !== 1002 || !hasMalformedLength(stream)) return false;
  const next = theirs[before.length];
  if (next?.type === 'error' && next.code === 1002) return false;
  expect(theirs.slice(0, before.length)).toEqual(before);
  return true;
}

/** Walks from header to header, as far as the stream keeps together. */
function hasMalformedLength(stream: Buffer): boolean {
  let at = 0;
  while (at + 2 <= stream.length) {
    const short = stream[at + 1]! & 0x7f;
    const size = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (at + 2 + size > stream.length) return false;
    const length = size === 0 ? BigInt(short) : BigInt(`0x${stream.subarray(at + 2, at + 2 + size).toString('hex')}`);
    if (size === 2 && length < 126n) return true;
    if (size === 8 && (length <= 0xffffn || length >= 1n << 63n)) return true;
    at += 2 + size + 4 + Number(length);
  }
  return false;
}

describe('the same outcome as ws', () => {
  test.each([
    ['alone', Buffer.alloc(0)],
    ['inside a message', clientFrame({ opcode: 1, fin: false, payload: 'x' })],
  ])('for each of the 65,536 ways in which a frame may begin, %s', (_, before) => {
    const rest = Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 5]);
    const outcomes = new Map<string, number>();
    for (let start = 0; start <= 0xffff; start++) {
      const { events } = compare([Buffer.concat([before, Buffer.from([start >> 8, start & 0xff]), rest])]);
      const last = events[0];
      const outcome = last === undefined ? 'none' : last.type === 'error' ? `error ${last.code}` : last.type;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    // one of eight settings of the reserved bits, one of two of the mask bit
    expect(outcomes.get('error 1002')).toBeGreaterThan((0x10000 * 15) / 16);
    expect(outcomes.get('ping')).toBeGreaterThan(0);
    expect(outcomes.get(before.length === 0 ? 'binary' : 'text')).toBeGreaterThan(0);
  });

  test('for every close code', () => {
    for (let code = 0; code <= 0xffff; code++) expect(compare([close(code)]).stricter).toBe(false);
  });

  test('for random streams, valid, mutated and wild', () => {
    const seen = new Map<string, number>();
    const stream = fc.oneof(
      validStream.map(({ bytes }) => bytes),
      mutatedStream,
      wildStream,
    );
    fc.assert(
      fc.property(
        stream,
        places(6),
        fc.boolean(),
        fc.constantFrom(limits, limits, tightLimits),
        (bytes, slices, single, within) => {
          // ws takes quadratic time over single bytes
          const { events, stricter } = compare(
            single && bytes.length < 5000 ? bytewise(bytes) : cut(bytes, slices),
            within,
          );
          if (stricter) seen.set('stricter', (seen.get('stricter') ?? 0) + 1);
          for (const event of events) {
            const kind = event.type === 'error' ? `error ${event.code}` : event.type;
            seen.set(kind, (seen.get(kind) ?? 0) + 1);
          }
        },
      ),
      { numRuns: 10_000 },
    );
    // each kind of outcome was compared, and the exceptions are the exception
    for (const kind of [
      'text',
      'binary',
      'ping',
      'pong',
      'close',
      'error 1002',
      'error 1007',
      'error 1008',
      'error 1009',
    ]) {
      expect(seen.get(kind), kind).toBeGreaterThan(30);
    }
    expect(seen.get('stricter') ?? 0).toBeLessThan(1500);
  });

  test('for messages around the limit and around the number of fragments', () => {
    for (const size of [99_999, 100_000, 100_001]) {
      const payload = 'x'.repeat(size);
      for (const stream of [text(payload), fragmented(2, [payload.slice(0, 70_000), payload.slice(70_000), ''])]) {
        const { events, stricter } = compare([stream, text('next')]);
        expect(stricter).toBe(false);
        expect(events[0]).toMatchObject(size > 100_000 ? { type: 'error', code: 1009 } : { data: payload });
      }
    }
    for (const count of [7, 8, 9]) {
      const { events, stricter } = compare([
        fragmented(
          1,
          Array.from({ length: count }, () => 'y'),
        ),
        text('next'),
      ]);
      expect(stricter).toBe(false);
      expect(events[0]).toEqual(count > 8 ? { type: 'error', code: 1008 } : { type: 'text', data: 'y'.repeat(count) });
    }
  });
});

describe('knowingly stricter than ws', () => {
  const options = wsOptions(limits);

  test('1: a length not in its shortest form', () => {
    const stream = clientFrame({ opcode: 1, payload: 'a', lengthBits: 64 });
    expect(recordWs([stream], options)).toEqual([{ type: 'text', data: 'a' }]);
    expect(record([stream], limits).events).toEqual([{ type: 'error', code: 1002 }]);
  });

  test('2: a 64-bit length with its highest bit set', () => {
    const stream = announce(1, 1n << 63n);
    expect(recordWs([stream], options)).toEqual([{ type: 'error', code: 1009 }]);
    expect(record([stream], limits).events).toEqual([{ type: 'error', code: 1002 }]);
  });

  test('3: one fragment too many, before its payload', () => {
    const stream = fragmented(
      1,
      Array.from({ length: 9 }, () => 'y'),
    );
    expect(recordWs([stream.subarray(0, -1)], options)).toEqual([]);
    expect(record([stream.subarray(0, -1)], limits).events).toEqual([{ type: 'error', code: 1008 }]);
  });
});
