import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ClientFrame,
  defaultInputLimits,
  FrameError,
  type FrameLimits,
  isTailraceError,
  parseClientFrame,
  parseStreamRequest,
} from '../src/index.ts';

const limits: FrameLimits = { ...defaultInputLimits, items: 4, deadline: 3000 };

function parse(frame: unknown): ClientFrame {
  return parseClientFrame(typeof frame === 'string' ? frame : JSON.stringify(frame), limits);
}

function refusal(frame: unknown): [string, unknown] {
  try {
    parse(frame);
  } catch (error) {
    if (error instanceof FrameError) return [error.error.code, error.ref];
    throw error;
  }
  throw new Error('it was taken');
}

describe('client frames', () => {
  it('are read', () => {
    expect(parse({ type: 'ping' })).toEqual({ type: 'ping', ref: undefined });
    expect(parse({ type: 'ping', ref: 'x' })).toEqual({ type: 'ping', ref: 'x' });
    expect(parse({ type: 'unsubscribe', ref: 1, subs: ['a'] })).toEqual({ type: 'unsubscribe', ref: 1, subs: ['a'] });
    expect(
      parse({
        type: 'connect',
        ref: 0,
        token: 't',
        previous: 'p',
        client: { name: 'n', version: 'v' },
        heartbeat: 7000,
        subscribe: [{ filter: 'a' }],
      }),
    ).toEqual({
      type: 'connect',
      ref: 0,
      token: 't',
      previous: 'p',
      client: { name: 'n', version: 'v' },
      heartbeat: 7000,
      subscribe: [{ filters: ['a'], sub: 'a', cursor: undefined, from: undefined }],
    });
  });

  it('fail item by item in subscribe', () => {
    const frame = parse({
      type: 'subscribe',
      subscriptions: [
        { filter: ['a', 'b/#'], cursor: 'c' },
        { filter: 'a//b', sub: 'x' },
        { filter: 'a', group: 'g' },
        7,
      ],
    });
    if (frame.type !== 'subscribe') throw new Error(frame.type);
    expect(frame.subscriptions[0]).toEqual({ filters: ['a', 'b/#'], sub: 'a b/#', cursor: 'c', from: undefined });
    expect(frame.subscriptions.slice(1).map(item => ('error' in item ? [item.sub, item.error.code] : item))).toEqual([
      ['x', 'filter_invalid'],
      [undefined, 'unsupported'],
      [undefined, 'bad_request'],
    ]);
  });

  it('may name the deadline of a publish', () => {
    for (const deadline of [undefined, 10, 3000])
      expect(parse({ type: 'publish', deadline, messages: [] })).toEqual({
        type: 'publish',
        ref: undefined,
        deadline,
        messages: [],
        total: 0,
        failed: undefined,
      });
  });

  it('carry messages verbatim, up to the first that is bad', () => {
    const frame = parse(
      '{"messages": [ {"topic":"a","data":12345678901234567890} , {"data": {"x" :1}, "topic":"b"},{"topic":"$x","data":1},{"topic":"c","data":1}],"type":"publish"}',
    );
    if (frame.type !== 'publish') throw new Error(frame.type);
    expect(frame.messages.map(({ topic, data }) => [topic, new TextDecoder().decode(data)])).toEqual([
      ['a', '12345678901234567890'],
      ['b', '{"x" :1}'],
    ]);
    expect(frame.total).toBe(4);
    expect([frame.failed?.code, frame.failed?.at]).toEqual(['publish_forbidden', { field: 'topic', index: 2 }]);
  });

  it.each<[unknown, string, unknown?]>([
    ['', 'bad_request'],
    ['{', 'bad_request'],
    ['[]', 'bad_request'],
    ['null', 'bad_request'],
    [{}, 'unknown_field'],
    [{ type: 1 }, 'unknown_field'],
    [{ type: 'toString' }, 'unknown_field'],
    [{ type: 'subscirbe' }, 'unknown_field'],
    [{ type: 'ping', ref: 'a', extra: 1 }, 'unknown_field', 'a'],
    [{ type: 'ping', ref: 1.5 }, 'bad_request'],
    [{ type: 'ping', ref: 'x'.repeat(37) }, 'bad_request'],
    [{ type: 'ping', ref: null }, 'bad_request'],
    [{ type: 'ack', ref: 5, sub: 'a' }, 'unsupported', 5],
    [{ type: 'refresh', token: 'x' }, 'unsupported'],
    [{ type: 'publish' }, 'bad_request'],
    [{ type: 'publish', messages: {} }, 'bad_request'],
    [{ type: 'publish', messages: [], deadline: 9 }, 'bad_request'],
    [{ type: 'publish', messages: [], deadline: 3001 }, 'bad_request'],
    [{ type: 'publish', messages: [], deadline: '50' }, 'bad_request'],
    [{ type: 'publish', messages: [], dedline: 50 }, 'unknown_field'],
    [{ type: 'publish', messages: [1, 2, 3, 4, 5] }, 'payload_too_large'],
    [{ type: 'subscribe', subscriptions: 'a' }, 'bad_request'],
    [{ type: 'unsubscribe', subs: [1] }, 'bad_request'],
    [{ type: 'connect', client: 'me' }, 'bad_request'],
    [{ type: 'connect', ref: 1, heartbeat: '7s' }, 'bad_request', 1],
    [{ type: 'connect', heartbeat: 7000.5 }, 'bad_request'],
    [{ type: 'connect', heartbeat: null }, 'bad_request'],
    [{ type: 'connect', token: '' }, 'bad_request'],
  ])('%j is refused', (frame, code, ref) => expect(refusal(frame)).toEqual([code, ref]));

  it('never fail in another way', () => {
    const odd = fc.record(
      {
        type: fc.constantFrom('connect', 'subscribe', 'unsubscribe', 'publish', 'ping', 'ack', 'x'),
        ref: fc.jsonValue(),
        subscriptions: fc.jsonValue(),
        subscribe: fc.jsonValue(),
        subs: fc.jsonValue(),
        messages: fc.jsonValue(),
        token: fc.jsonValue(),
        client: fc.jsonValue(),
        heartbeat: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(odd, fc.jsonValue()), fc.nat(), (frame, cut) => {
        for (const text of [JSON.stringify(frame), JSON.stringify(frame).slice(0, cut % 200)]) {
          try {
            parse(text === '' ? '{' : text);
          } catch (error) {
            if (!(error instanceof FrameError)) throw error;
          }
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('the body of a streaming POST', () => {
  const code = (body: unknown): string => {
    try {
      parseStreamRequest(typeof body === 'string' ? body : JSON.stringify(body), limits);
      return 'fine';
    } catch (error) {
      if (!isTailraceError(error)) throw error;
      return error.code;
    }
  };
  it('names subscriptions', () => {
    expect(
      parseStreamRequest(
        '{"connect":{"ref":"r","client":{"name":"n"},"heartbeat":6000},"subscribe":[{"filter":"a","sub":"s","from":"last"}]}',
        limits,
      ),
    ).toMatchObject({
      connect: { ref: 'r', client: { name: 'n' }, heartbeat: 6000 },
      subscribe: [{ filters: ['a'], sub: 's', cursor: undefined, from: 'last' }],
    });
    expect([
      code(''),
      code([]),
      code({}),
      code({ subscribe: [] }),
      code({ subscribe: [{ filter: 'a' }], x: 1 }),
      code({ connect: 1, subscribe: [{ filter: 'a' }] }),
      code({ connect: { ref: {} }, subscribe: [{ filter: 'a' }] }),
    ]).toEqual([
      'bad_request',
      'bad_request',
      'bad_request',
      'bad_request',
      'unknown_field',
      'bad_request',
      'bad_request',
    ]);
  });
});
