import { describe, expect, test } from 'vitest';
import { defaultReceiverLimits, ENDED, type Receiver, receive } from '../../../src/gateway/websocket/receiver.ts';
import { announce, binary, clientFrame, close, fragmented, ping, pong, text } from './client-frames.ts';
import { bytewise, Recorder, record, type WireEvent } from './recorder.ts';

// The groups are those of the Autobahn test suite. Every stream is read in one chunk and byte by byte.
function expectEvents(
  stream: Uint8Array,
  events: readonly WireEvent[],
  limits: Parameters<typeof record>[1] = {},
): void {
  expect(record([stream], limits).events).toEqual(events);
  expect(record(bytewise(stream), limits).events).toEqual(events);
}

/** The stream is refused after `before`, and what follows it is not delivered. */
function expectRefused(
  stream: Uint8Array,
  code: number,
  before: readonly WireEvent[] = [],
  limits: Parameters<typeof record>[1] = {},
): void {
  expectEvents(Buffer.concat([stream, text('never seen'), close(1000)]), [...before, { type: 'error', code }], limits);
}

const a = { type: 'text', data: 'a' } as const;

describe('1 framing', () => {
  const lengths = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 131_072];

  test.each(lengths)('text of %d bytes', length => {
    expectEvents(text('*'.repeat(length)), [{ type: 'text', data: '*'.repeat(length) }]);
  });

  test.each(lengths)('binary of %d bytes', length => {
    const payload = Buffer.alloc(length, '\xfe\x00\x81', 'latin1');
    expectEvents(binary(payload), [{ type: 'binary', data: payload.toString('latin1') }]);
  });

  test('many frames in one chunk come in order', () => {
    const stream = Buffer.concat([text('1'), binary('2'), ping('3'), text(''), pong('4'), text('5')]);
    expectEvents(stream, [
      { type: 'text', data: '1' },
      { type: 'binary', data: '2' },
      { type: 'ping', data: '3' },
      { type: 'text', data: '' },
      { type: 'pong', data: '4' },
      { type: 'text', data: '5' },
    ]);
  });

  test('every cut of a frame with 16 bits of length gives the message once', () => {
    const payload = 'x'.repeat(300);
    const stream = text(payload);
    for (let at = 0; at <= stream.length; at++) {
      const { events } = record([stream.subarray(0, at), stream.subarray(at)]);
      expect(events, `cut at ${at}`).toEqual([{ type: 'text', data: payload }]);
    }
  });

  test('an empty chunk changes nothing', () => {
    const stream = text('abc');
    const slices = bytewise(stream).flatMap(slice => [slice, new Uint8Array(0)]);
    expect(record(slices).events).toEqual([{ type: 'text', data: 'abc' }]);
    expect(record([new Uint8Array(0)])).toEqual({ events: [], state: null, errorReason: '' });
  });

  test('a masking key with zero bytes, and one of zeros only', () => {
    for (const mask of [Uint8Array.of(0, 0, 0, 0), Uint8Array.of(0, 7, 0, 0), Uint8Array.of(255, 0, 255, 128)]) {
      const payload = 'masked'.repeat(50);
      expectEvents(clientFrame({ opcode: 1, payload, mask }), [{ type: 'text', data: payload }]);
    }
  });

  test.each([
    { payload: 0, lengthBits: 16 },
    { payload: 125, lengthBits: 16 },
    { payload: 0, lengthBits: 64 },
    { payload: 126, lengthBits: 64 },
    { payload: 65_535, lengthBits: 64 },
  ] as const)('a length of $payload written with $lengthBits bits is refused', ({ payload, lengthBits }) => {
    expectRefused(clientFrame({ opcode: 2, payload: Buffer.alloc(payload), lengthBits }), 1002);
  });

  test('a 64-bit length with its highest bit set is refused as malformed, not as large', () => {
    expectRefused(announce(2, 1n << 63n), 1002);
    expectRefused(announce(2, (1n << 64n) - 1n), 1002);
    expectRefused(announce(2, (1n << 63n) - 1n), 1009);
  });

  test('an unmasked frame is refused', () => {
    expectRefused(clientFrame({ opcode: 1, payload: 'a', mask: null }), 1002);
    expectRefused(clientFrame({ opcode: 9, mask: null }), 1002);
    expectRefused(Buffer.concat([text('a'), clientFrame({ opcode: 8, mask: null })]), 1002, [a]);
  });
});

describe('2 pings and pongs', () => {
  test.each([0, 1, 125])('ping and pong with %d bytes', length => {
    const data = '\xfe'.repeat(length);
    expectEvents(Buffer.concat([ping(Buffer.from(data, 'latin1')), pong(Buffer.from(data, 'latin1'))]), [
      { type: 'ping', data },
      { type: 'pong', data },
    ]);
  });

  test.each([8, 9, 10])('opcode %d with 126 bytes is refused', opcode => {
    expectRefused(clientFrame({ opcode, payload: Buffer.alloc(126, 0x61) }), 1002);
  });

  test.each([8, 9, 10])('opcode %d with a longer form of its length is refused', opcode => {
    const payload = Buffer.from([0x03, 0xe8]);
    expectRefused(clientFrame({ opcode, payload, lengthBits: 16 }), 1002);
    expectRefused(clientFrame({ opcode, payload, lengthBits: 64 }), 1002);
  });

  test('ten pings are ten events', () => {
    const data = Array.from({ length: 10 }, (_, at) => `payload-${at}`);
    expectEvents(
      Buffer.concat(data.map(ping)),
      data.map(item => ({ type: 'ping', data: item })),
    );
  });
});

describe('3 reserved bits', () => {
  test.each([1, 2, 3, 4, 5, 6, 7])('rsv %d', rsv => {
    for (const opcode of [1, 2, 8, 9, 10])
      expectRefused(Buffer.concat([text('a'), clientFrame({ opcode, rsv })]), 1002, [a]);
    const continuation = clientFrame({ opcode: 0, rsv });
    expectRefused(Buffer.concat([clientFrame({ opcode: 1, fin: false, payload: 'x' }), continuation]), 1002);
  });
});

describe('4 opcodes', () => {
  test.each([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])('the unknown opcode %d is refused', opcode => {
    expectRefused(Buffer.concat([text('a'), clientFrame({ opcode })]), 1002, [a]);
    expectRefused(clientFrame({ opcode, payload: 'x' }), 1002);
    expectRefused(Buffer.concat([clientFrame({ opcode: 1, fin: false }), clientFrame({ opcode })]), 1002);
  });
});

describe('5 fragmentation', () => {
  test.each([8, 9, 10])('a fragmented control frame of opcode %d is refused', opcode => {
    expectRefused(clientFrame({ opcode, fin: false }), 1002);
    expectRefused(Buffer.concat([clientFrame({ opcode: 1, fin: false }), clientFrame({ opcode, fin: false })]), 1002);
  });

  test('a message in pieces is one message, of the kind its first frame says', () => {
    expectEvents(fragmented(1, ['frag', 'ment', '', 'ed']), [{ type: 'text', data: 'fragmented' }]);
    expectEvents(fragmented(2, ['', '', '\x01', '']), [{ type: 'binary', data: '\x01' }]);
    expectEvents(fragmented(1, ['', '', '']), [{ type: 'text', data: '' }]);
  });

  test('control frames between the pieces come first and leave the message whole', () => {
    expectEvents(fragmented(1, ['a'.repeat(200), 'b'.repeat(200), 'c'], Buffer.concat([ping('p'), pong('q')])), [
      { type: 'ping', data: 'p' },
      { type: 'pong', data: 'q' },
      { type: 'ping', data: 'p' },
      { type: 'pong', data: 'q' },
      { type: 'text', data: `${'a'.repeat(200)}${'b'.repeat(200)}c` },
    ]);
  });

  test.each([true, false])('a continuation without a beginning is refused (fin %s)', fin => {
    const continuation = clientFrame({ opcode: 0, payload: 'x', fin });
    expectRefused(continuation, 1002);
    expectRefused(Buffer.concat([text('a'), continuation]), 1002, [a]);
    expectRefused(Buffer.concat([fragmented(1, ['', 'a']), continuation]), 1002, [a]);
  });

  test.each([1, 2])('a new message (opcode %d) inside an unfinished one is refused', opcode => {
    const begun = clientFrame({ opcode: 1, payload: 'x', fin: false });
    expectRefused(Buffer.concat([begun, clientFrame({ opcode, payload: 'y' })]), 1002);
    expectRefused(Buffer.concat([begun, clientFrame({ opcode, fin: false })]), 1002);
  });

  test('as many fragments as the limit pass, one more is refused, and the count starts anew with each message', () => {
    const limit = defaultReceiverLimits.maxFragments;
    const full = fragmented(
      2,
      Array.from({ length: limit }, () => ''),
    );
    expectEvents(Buffer.concat([full, ping(), full]), [
      { type: 'binary', data: '' },
      { type: 'ping', data: '' },
      { type: 'binary', data: '' },
    ]);
    const over = fragmented(
      2,
      Array.from({ length: limit + 1 }, () => ''),
    );
    expectRefused(Buffer.concat([text('a'), over]), 1008, [a]);
    expectRefused(fragmented(1, ['x', 'y', 'z']), 1008, [], { maxFragments: 2 });
  });

  test('control frames do not count as fragments', () => {
    const stream = fragmented(1, ['x', 'y'], Buffer.concat([ping(), ping(), ping()]));
    expect(record([stream], { maxFragments: 2 }).events.at(-1)).toEqual({ type: 'text', data: 'xy' });
  });
});

describe('7 closing', () => {
  test('without a body, with a code, with a reason', () => {
    expectEvents(close(), [{ type: 'close', code: undefined, reason: '' }]);
    expectEvents(close(1000), [{ type: 'close', code: 1000, reason: '' }]);
    expectEvents(close(4000, 'Schluß ☃'), [{ type: 'close', code: 4000, reason: 'Schluß ☃' }]);
    expectEvents(close(1001, 'x'.repeat(123)), [{ type: 'close', code: 1001, reason: 'x'.repeat(123) }]);
  });

  test.each([text('x'), ping(), close(1000), clientFrame({ opcode: 7 })])(
    'nothing that follows a close frame is read (%#)',
    following => {
      expectEvents(Buffer.concat([text('a'), close(1000), following]), [a, { type: 'close', code: 1000, reason: '' }]);
      // also when it comes in the middle of a message
      expectEvents(Buffer.concat([clientFrame({ opcode: 1, fin: false, payload: 'x' }), close(3000), following]), [
        { type: 'close', code: 3000, reason: '' },
      ]);
    },
  );

  test('half a code is refused', () => {
    expectRefused(clientFrame({ opcode: 8, payload: '\x03' }), 1002);
  });

  test.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])(
    'code %d',
    code => {
      expectEvents(close(code), [{ type: 'close', code, reason: '' }]);
    },
  );

  test.each([0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])('code %d is refused', code => {
    expectRefused(close(code), 1002);
    expectRefused(close(code, 'reason'), 1002);
  });

  test('a reason that is not UTF-8 is refused', () => {
    expectRefused(close(1000, Uint8Array.of(0x61, 0xc3)), 1007);
    expectRefused(close(1000, Uint8Array.of(0xed, 0xa0, 0x80)), 1007);
  });
});

describe('9 limits', () => {
  const limits = { maxMessageBytes: 1000 };
  const longest: WireEvent = { type: 'binary', data: 'x'.repeat(1000) };

  test('a message of exactly the limit passes, in one frame or more', () => {
    expectEvents(binary('x'.repeat(1000)), [longest], limits);
    expectEvents(fragmented(2, ['x'.repeat(999), 'x', '']), [longest], limits);
  });

  test('one byte more is refused, in one frame or more', () => {
    expectRefused(binary('x'.repeat(1001)), 1009, [], limits);
    expectRefused(fragmented(2, ['x'.repeat(1000), 'x']), 1009, [], limits);
    expectRefused(
      Buffer.concat([fragmented(2, ['x', 'x'.repeat(999)]), fragmented(1, ['x'.repeat(500), '', 'y'.repeat(501)])]),
      1009,
      [longest],
      limits,
    );
  });

  test('the announced length is enough to refuse', () => {
    const header = binary('x'.repeat(1001)).subarray(0, 4);
    expect(record([header], limits).events).toEqual([{ type: 'error', code: 1009 }]);
    expect(record([announce(1, 1n << 40n).subarray(0, 10)]).events).toEqual([{ type: 'error', code: 1009 }]);
  });

  test('control frames do not count against the message', () => {
    const stream = fragmented(2, ['x'.repeat(600), 'x'.repeat(400)], ping('p'.repeat(125)));
    expectEvents(stream, [{ type: 'ping', data: 'p'.repeat(125) }, longest], limits);
  });

  test('the reason of an error says the limit and fits into a close frame', () => {
    const { errorReason } = record([announce(1, 1n << 40n)], limits);
    expect(errorReason).toContain('1000');
    expect(Buffer.byteLength(errorReason)).toBeLessThanOrEqual(123);
  });
});

describe('state', () => {
  test('there is none between two messages, and some inside a header, a payload or a message', () => {
    const recorder = new Recorder();
    const header = text('abc').subarray(0, 3);
    const rest = text('abc').subarray(3);
    const inHeader = receive(null, Buffer.from(header), recorder);
    expect(inHeader).not.toBeNull();
    const inPayload = receive(inHeader, Buffer.from(rest.subarray(0, 4)), recorder);
    expect(inPayload).toBe(inHeader);
    expect(receive(inPayload, Buffer.from(rest.subarray(4)), recorder)).toBeNull();

    const inMessage = receive(null, clientFrame({ opcode: 1, fin: false, payload: 'x' }), recorder);
    expect(inMessage).not.toBeNull();
    expect(receive(inMessage, clientFrame({ opcode: 0 }), recorder)).toBeNull();
    expect(recorder.events).toEqual([
      { type: 'text', data: 'abc' },
      { type: 'text', data: 'x' },
    ]);
  });

  test.each([close(1000), clientFrame({ opcode: 3 })])('after the end it is ENDED for good (%#)', last => {
    const recorder = new Recorder();
    let state = receive(null, Buffer.from(last), recorder);
    expect(state).toBe(ENDED);
    state = receive(state, text('x'), recorder);
    expect(state).toBe(ENDED);
    expect(recorder.events).toHaveLength(1);
  });

  test('connections whose frames arrive interleaved do not mix', () => {
    const connections = Array.from({ length: 20 }, (_, id) => ({
      recorder: new Recorder(),
      state: null as Receiver | null,
      stream: Buffer.concat([
        fragmented(1, [`hello ${id}`, ' ', `world ${id}`], ping(`ping ${id}`)),
        text(`last ${id}`),
      ]),
    }));
    const longest = Math.max(...connections.map(({ stream }) => stream.length));
    for (let at = 0; at < longest; at += 3) {
      for (const each of connections)
        each.state = receive(each.state, Buffer.from(each.stream.subarray(at, at + 3)), each.recorder);
    }
    for (const [id, { recorder, state }] of connections.entries()) {
      expect(state).toBeNull();
      expect(recorder.events).toEqual([
        { type: 'ping', data: `ping ${id}` },
        { type: 'ping', data: `ping ${id}` },
        { type: 'text', data: `hello ${id} world ${id}` },
        { type: 'text', data: `last ${id}` },
      ]);
    }
  });

  test('a sink may receive for another connection while it is called', () => {
    const inner = new Recorder();
    let innerState: Receiver | null = null;
    class Relay extends Recorder {
      override onMessage(data: Buffer, isBinary: boolean): void {
        innerState = receive(innerState, fragmented(1, ['<', data.toString(), '>']), inner);
        super.onMessage(data, isBinary);
      }
    }
    const outer = new Relay();
    expect(
      receive(null, Buffer.concat([text('one'), fragmented(1, ['t', 'w', 'o']), text('three')]), outer),
    ).toBeNull();
    expect(outer.events.map(event => 'data' in event && event.data)).toEqual(['one', 'two', 'three']);
    expect(inner.events.map(event => 'data' in event && event.data)).toEqual(['<one>', '<two>', '<three>']);
  });

  test('a sink that throws leaves other connections unharmed', () => {
    class Faulty extends Recorder {
      override onMessage(): void {
        throw new Error('fault in the session');
      }
    }
    const stream = Buffer.concat([text('x'), clientFrame({ opcode: 1, fin: false, payload: 'rest' })]);
    expect(() => receive(null, stream, new Faulty())).toThrow('fault in the session');
    expect(record([text('a')]).events).toEqual([a]);
  });
});
