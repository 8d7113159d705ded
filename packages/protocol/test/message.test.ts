import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkMessage,
  defaultInputLimits,
  isTailraceError,
  type Message,
  type MessageFields,
  PlainLines,
  parseMessage,
  payloadKind,
  storedContentType,
  TailraceError,
} from '../src/index.ts';
import { encodeUtf8, utf8Length } from '../src/utf8.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(data);

function code(run: () => unknown): string {
  try {
    run();
    return 'fine';
  } catch (error) {
    if (!isTailraceError(error)) throw error;
    return error.code;
  }
}

function parse(json: string, start = 0): Message {
  return parseMessage(JSON.parse(json.slice(start)), json, start);
}

describe('a message from JSON', () => {
  it('keeps its data as it was written', () => {
    const space = fc.stringMatching(/^[ \t\r\n]{0,2}$/);
    fc.assert(
      fc.property(fc.json({ maxDepth: 3 }), space, space, fc.boolean(), (data, a, b, first) => {
        const members = [`"topic"${a}:${b}"x"`, `${a}"data"${b}:${a}${data}${b}`];
        const json = `${a}{${(first ? members : members.reverse()).join(',')}}${b}`;
        expect(text(parse(json).data)).toBe(data);
      }),
    );
  });

  it('takes the last of repeated members, as JSON.parse does', () => {
    expect(text(parse('{"data":1,"topic":"a","data":[2 ],"d\\u0061ta":{"x" :3},"topic":"b"}').data)).toBe('{"x" :3}');
    expect(parse('{"data":1,"topic":"a","topic":"b"}').topic).toBe('b');
  });

  it('has every field', () => {
    const json =
      '{"topic":"a","contentType":"text/plain","event":"e","id":"i","producer":"p","sequence":0,"key":"ü","headers":{"reply-to":"x"},"durability":"none","lane":"normal","end":true,"data":"ü😀"}';
    const message = parse(json);
    expect(text(message.data)).toBe('ü😀');
    expect({ ...message, data: null }).toEqual({
      topic: 'a',
      data: null,
      contentType: 'text/plain',
      event: 'e',
      id: 'i',
      producer: 'p',
      sequence: 0,
      key: 'ü',
      headers: { 'reply-to': 'x' },
      by: undefined,
      end: true,
      durability: 'none',
    });
  });

  it('is the same as one from bytes and fields', () => {
    const fields: fc.Arbitrary<MessageFields> = fc.record(
      {
        event: fc.constantFrom('e', '', 'tailrace', 'x'.repeat(65), 1),
        id: fc.constantFrom('i', 'ü', 'x'.repeat(129), null),
        producer: fc.constantFrom('p', ''),
        sequence: fc.constantFrom(0, 1.5, -1, 2 ** 53, '1'),
        key: fc.constantFrom('k', 'ü'.repeat(257), '\n'),
        expect: fc.constantFrom({ offset: 7 }, { absent: true }, { offset: 0 }, { offset: 1, absent: true }, 'absent'),
        headers: fc.constantFrom({}, { a: 'b' }, { A: 'b' }, { 'tailrace-x': 'y' }, { a: 1 }, [], {
          a: 'x'.repeat(5000),
        }),
        durability: fc.constantFrom('fsync', 'written', 'none', 'all'),
        lane: fc.constantFrom('normal', 'urgent', 'x'),
        end: fc.constantFrom(true, false, 'true'),
        contentType: fc.constantFrom('application/json', 'application/x+json', 'application/json; charset=utf-8'),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fields,
        fc.constantFrom('1', '{"a":[1,2]}', undefined),
        fc.constantFrom('a/b', '', '$x', 'a//b'),
        (given, data, topic) => {
          const json = `{"topic":${JSON.stringify(topic)}${data === undefined ? '' : `,"data":${data}`}${JSON.stringify(given).replace('{', given && Object.keys(given).length > 0 ? ',' : '')}`;
          const run = (make: () => Message): unknown => {
            try {
              const message = make();
              return { ...message, data: text(message.data) };
            } catch (error) {
              if (!isTailraceError(error)) throw error;
              return [error.code, error.at];
            }
          };
          expect(run(() => parse(json))).toEqual(run(() => checkMessage(topic, bytes(data ?? ''), given)));
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('refuses whatever else JSON may hold, by a code', () => {
    fc.assert(
      fc.property(fc.json(), json => {
        expect(code(() => parse(json))).not.toBe('internal');
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['{"topic":"a","data":1,"to":"x"}', 'unsupported'],
    ['{"topic":"a","data":1,"ttl":5}', 'unsupported'],
    ['{"topic":"a","data":1,"by":"root"}', 'unknown_field'],
    ['{"topic":"a","data":1,"offset":1}', 'unknown_field'],
    ['{"topic":"a","data":1,"__proto__":{}}', 'unknown_field'],
    ['{"topic":"a","data":1,"toString":1}', 'unknown_field'],
    ['{"topic":"a","data":1,"expect":{"absent":true}}', 'bad_request'],
    ['{"topic":"a","data":1,"key":"k","expect":{"absent":false}}', 'bad_request'],
    ['{"topic":"a","data":1,"key":"k","expect":{"offset":1.5}}', 'bad_request'],
    ['{"topic":"a","data":1,"key":"k","expect":{"offset":1,"by":"x"}}', 'bad_request'],
    ['{"topic":"a","data":1,"key":"k","expect":null}', 'bad_request'],
    ['{"topic":"a","data":1,"key":"k","expect":[]}', 'bad_request'],
    ['{"topic":"a"}', 'payload_invalid'],
    ['{"topic":"a","contentType":"text/plain"}', 'payload_invalid'],
    ['{"topic":"a","contentType":"image/png"}', 'payload_invalid'],
    ['{"topic":"a","contentType":"image/png","encoding":"base64"}', 'payload_invalid'],
    ['{"topic":"a","data":"","encoding":"base64"}', 'payload_invalid'],
    ['{"topic":"a","encoding":"gzip"}', 'bad_request'],
    ['{"topic":"a","data":"x","encoding":"base64","contentType":"image/png"}', 'payload_invalid'],
    ['{"topic":"a","data":{},"contentType":"image/png"}', 'payload_invalid'],
    ['{"topic":"a","data":1,"contentType":"text/plain"}', 'payload_invalid'],
    ['{"topic":"a","data":"\\ud800","contentType":"text/plain"}', 'payload_invalid'],
    ['{"topic":"a","data":"77u/MQ==","encoding":"base64"}', 'payload_invalid'],
    ['{"topic":"a","data":"/w==","encoding":"base64","contentType":"text/plain"}', 'payload_invalid'],
    ['{"topic":1,"data":1}', 'topic_invalid'],
    ['{"topic":["a"],"data":1}', 'topic_invalid'],
    ['[]', 'bad_request'],
    ['null', 'bad_request'],
    ['"x"', 'bad_request'],
  ])('refuses %s', (json, expected) => expect(code(() => parse(json))).toBe(expected));

  it.each([
    '{"topic":"a","data":"","contentType":"text/plain"}',
    '{"topic":"a","data":"","encoding":"base64","contentType":"image/png"}',
    '{"topic":"a","key":"k","contentType":"text/plain"}',
    '{"topic":"a","end":true,"contentType":"image/png"}',
  ])('takes no bytes of %s', json => expect(parse(json).data).toHaveLength(0));

  it('holds to the limits it was given, also for a topic it knows', () => {
    const limits = { ...defaultInputLimits, topicBytes: 3, message: 4 };
    const make =
      (topic: string, data: string, of = defaultInputLimits) =>
      () => {
        const json = `{"topic":"${topic}","data":${data}}`;
        return parseMessage(JSON.parse(json), json, 0, of);
      };
    expect(code(make('abcd', '1'))).toBe('fine');
    expect(code(make('abcd', '1', limits))).toBe('topic_invalid');
    expect(code(make('abc', '1234', limits))).toBe('fine');
    expect(code(make('abc', '12345', limits))).toBe('payload_too_large');
    expect(code(make('abcd', '12345'))).toBe('fine');
    // more topics than are remembered
    for (let i = 0; i < 10_000; i++) expect(make(`t${i}`, '1')().topic).toBe(`t${i}`);
    expect(code(make('$x', '1'))).toBe('publish_forbidden');
    expect(code(make('$x', '1'))).toBe('publish_forbidden');
  });
});

describe('a message from a plain line', () => {
  const outcome = (make: () => Message): unknown => {
    try {
      const message = make();
      return { ...message, data: text(message.data) };
    } catch (error) {
      return isTailraceError(error) ? [error.code, error.at] : (error as Error).name;
    }
  };
  const lines = new PlainLines(defaultInputLimits);
  /** It may leave a line to others, but never makes another message of it, nor of what comes behind it. */
  const agrees = (json: string): void => {
    const line = json.split('\n', 1)[0]!;
    const expected = outcome(() => parseMessage(JSON.parse(line), line));
    for (const before of ['', 'x\n']) {
      const message = lines.read(bytes(before + json), before.length);
      if (message === undefined) continue;
      expect([json, { ...message, data: text(message.data) }]).toEqual([json, expected]);
      expect(lines.end).toBe(before.length + bytes(line).length);
    }
  };

  it('is what parsing it would give', () => {
    for (const topic of ['a', 'a/b', 'ü', 'a\\b', 'a\\\\b', 'a"b', 'a\\u0062']) lines.learn(topic);
    const space = fc.constantFrom('', '', '', ' ', '\n');
    const topic = fc.constantFrom(
      '"a"',
      '"a/b"',
      '"ü"',
      '"a\\\\b"',
      '"a\\u0062"',
      '"a\\"b"',
      '"a\\b"',
      '"a//b"',
      '"$x"',
      '"new"',
      '"a\n"',
      '1',
    );
    const data = fc.oneof(
      fc.json({ maxDepth: 3 }),
      fc.constantFrom(
        '',
        '1}',
        '1,"data":2',
        '1,"topic":"a"',
        '1,"id":"x"',
        '"a\\ud800"',
        '"x',
        '[1',
        '01',
        '1 ',
        ' 1',
        '"\u2028"',
      ),
    );
    fc.assert(
      fc.property(topic, data, space, space, space, space, (t, d, a, b, c, e) => {
        agrees(`{"topic":${a}${t},${b}"data":${c}${d}${e}}`);
        agrees(`{"data":${d},"topic":${t}}`);
        agrees(`{"topic":${a}${t}${b},"data":${c}${d}}${e}`);
      }),
      { numRuns: 4000 },
    );
  });

  it('is taken when nothing else is on the line', () => {
    for (const data of ['1', '"ü"', '{"a":[1, true,null]}', '-1.5e3']) {
      for (const json of [`{"topic":"ü","data":${data}}`, `{"topic": "ü", "data": ${data}}`]) {
        const message = lines.read(bytes(json), 0);
        expect(message && [message.topic, text(message.data)]).toEqual(['ü', data]);
      }
    }
  });

  it('does not go on into the next line', () => {
    for (const data of ['[1,\n2]', '\n1', '"a\nb"', '{"a":\n1}', '1\n'])
      expect(lines.read(bytes(`{"topic":"a","data":${data}}`), 0)).toBeUndefined();
    expect(lines.read(bytes('{"topic":"a\n","data":1}'), 0)).toBeUndefined();
  });

  it('needs a topic that was learnt', () => {
    const some = new PlainLines(defaultInputLimits);
    const read = (topic: string) => some.read(bytes(`{"topic":"${topic}","data":1}`), 0)?.topic;
    expect([read('a'), some.unknownTopic]).toEqual([undefined, true]);
    some.learn('a');
    expect([read('a'), some.unknownTopic]).toEqual(['a', false]);
    // more topics than are remembered, some of one hash ("Aa" and "BB")
    for (let i = 0; i < 10_000; i++) {
      some.learn(`t${i}`);
      expect(read(`t${i}`)).toBe(`t${i}`);
    }
    some.learn('Aa');
    expect(read('BB')).toBeUndefined();
    some.learn('BB');
    expect([read('BB'), read('Aa')]).toEqual(['BB', undefined]);
  });

  it('leaves what is too large to the one who tells so', () => {
    const some = new PlainLines({ ...defaultInputLimits, message: 3 });
    some.learn('a');
    expect(some.read(bytes('{"topic":"a","data":"1"}'), 0)).toBeDefined();
    expect(some.read(bytes('{"topic":"a","data":"12"}'), 0)).toBeUndefined();
    expect(some.read(bytes('{"topic":"a","data":"ü"}'), 0)).toBeUndefined();
  });
});

describe('payloads', () => {
  it.each([
    [undefined, 'json'],
    ['application/json', 'json'],
    ['Application/JSON; charset=utf-8', 'json'],
    ['application/vnd.api+json', 'json'],
    ['text/plain', 'text'],
    ['TEXT/html;x=y', 'text'],
    ['application/octet-stream', 'binary'],
    ['application/jsonl', 'binary'],
    ['image/svg+xml', 'binary'],
    ['', 'binary'],
  ] as const)('of %j are %s', (type, kind) => expect(payloadKind(type)).toBe(kind));

  it('leave out plain JSON types', () => {
    for (const type of ['application/json', 'application/json; charset=utf-8', 'APPLICATION/JSON;charset="UTF-8"'])
      expect(storedContentType(type)).toBeUndefined();
    for (const type of ['application/json; charset=latin1', 'application/x+json', 'text/plain'])
      expect(storedContentType(type)).toBe(type);
  });

  it('of JSON types must be JSON in UTF-8', () => {
    for (const bad of ['', ' ', '{', '1 2', '\ufeff1', "{'a':1}", 'NaN', '01', '"\n"'])
      expect([bad, code(() => checkMessage('a', bytes(bad), {}))]).toEqual([bad, 'payload_invalid']);
    for (const bad of [[0xff], [0x22, 0xc3, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0xef, 0xbb, 0xbf, 0x31]])
      expect(code(() => checkMessage('a', Uint8Array.from(bad), {}))).toBe('payload_invalid');
    expect(code(() => checkMessage('a', Uint8Array.from([0xff]), { contentType: 'text/plain' }))).toBe(
      'payload_invalid',
    );
    expect(code(() => checkMessage('a', Uint8Array.from([0xff]), { contentType: 'image/png' }))).toBe('fine');
  });
});

describe('UTF-8', () => {
  it('is counted as it is encoded', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map(unit => String.fromCharCode(unit)) }),
        value => {
          expect(utf8Length(value)).toBe(new TextEncoder().encode(value).length);
          expect([...encodeUtf8(value)]).toEqual([...new TextEncoder().encode(value)]);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('errors', () => {
  it('keep what they know when they are placed', () => {
    const cause = new Error('x');
    const error = new TailraceError('overloaded', 'wait', { retryAfter: 5, cause, at: { field: 'a' } }).placed({
      line: 3,
    });
    expect(error.toProblem()).toEqual({
      code: 'overloaded',
      title: expect.any(String),
      status: 503,
      detail: 'wait',
      retry: 'later',
      retryAfter: 5,
      outcome: 'none',
      at: { field: 'a', line: 3 },
    });
    expect(error.cause).toBe(cause);
  });
});
