import { type Message, payloadKind } from '@tailrace/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { envelopeMaxBytes, envelopeText, writeEnvelope } from '../../src/hub/envelope-bytes.ts';
import { LogRecord } from '../../src/log/index.ts';

const empty: Omit<Message, 'durability'> = {
  topic: 'a/b',
  data: new Uint8Array(0),
  contentType: undefined,
  event: undefined,
  id: undefined,
  producer: undefined,
  sequence: undefined,
  key: undefined,
  expect: undefined,
  headers: undefined,
  by: undefined,
  end: false,
};

function record(fields: Partial<Omit<Message, 'data'>> & { data?: string | Uint8Array }, offset = 7): LogRecord {
  const data = typeof fields.data === 'string' ? new TextEncoder().encode(fields.data) : (fields.data ?? empty.data);
  return new LogRecord(offset, 1_732_187_589_123, { ...empty, ...fields, data });
}

/** Writes into a buffer of exactly the promised size, between guards. */
function write(r: LogRecord, stored = true): string {
  const max = envelopeMaxBytes(r);
  const target = Buffer.alloc(max + 2, 0xee);
  const end = writeEnvelope(target, 1, r, stored);
  expect(end).toBeLessThanOrEqual(max + 1);
  expect(target[0]).toBe(0xee);
  expect(target.subarray(end).every(byte => byte === 0xee)).toBe(true);
  const text = target.subarray(1, end).toString();
  expect(text).not.toMatch(/[\r\n]/);
  return text;
}

describe('the envelope of a record', () => {
  it('holds topic, offset, time and the JSON payload as it came', () => {
    expect(write(record({ data: '12345678901234567890' }))).toBe(
      '{"topic":"a/b","offset":7,"time":1732187589123,"data":12345678901234567890}',
    );
    // the second time the topic's head comes from the cache
    expect(write(record({ data: '{"b":1, "a":2,"a":3}' }, 8))).toBe(
      '{"topic":"a/b","offset":8,"time":1732187589123,"data":{"b":1, "a":2,"a":3}}',
    );
  });

  it('turns line breaks of JSON into spaces, in short payloads and in long ones', () => {
    expect(write(record({ data: '{\r\n"a":\n1}\r' }))).toContain('"data":{  "a": 1} }');
    const long = `[\n${'1,\r\n'.repeat(2000)}1]`;
    expect(JSON.parse(write(record({ data: long }))).data).toEqual(JSON.parse(long));
  });

  it('shows every field that is there', () => {
    const r = record({
      topic: 'müll/"x"/\\/😀',
      data: '"\\u0000😀"',
      id: 'i"d',
      key: 'schlüssel',
      by: 'user/ü',
      event: 'e"v',
      headers: { 'reply-to': 'a"b', correlation: 'ü😀' },
      contentType: 'application/vnd.x+json',
      end: true,
    });
    expect(JSON.parse(write(r))).toEqual({
      topic: 'müll/"x"/\\/😀',
      offset: 7,
      time: 1_732_187_589_123,
      id: 'i"d',
      key: 'schlüssel',
      by: 'user/ü',
      event: 'e"v',
      headers: { 'reply-to': 'a"b', correlation: 'ü😀' },
      contentType: 'application/vnd.x+json',
      data: '\0😀',
      end: true,
    });
  });

  it('has no data in a deletion, and in an end without any', () => {
    expect(JSON.parse(write(record({ key: 'k' })))).not.toHaveProperty('data');
    expect(JSON.parse(write(record({ end: true })))).toEqual({
      topic: 'a/b',
      offset: 7,
      time: 1_732_187_589_123,
      end: true,
    });
    for (const contentType of ['text/plain', 'image/png']) {
      expect(JSON.parse(write(record({ key: 'k', contentType })))).not.toHaveProperty('data');
      expect(JSON.parse(write(record({ end: true, contentType })))).not.toHaveProperty('data');
    }
  });

  it.each([true, false])('shows an empty payload of text and of bytes, stored: %s', stored => {
    const text = JSON.parse(write(record({ contentType: 'text/plain' }), stored));
    expect(text).toMatchObject({ contentType: 'text/plain', data: '' });
    expect(text).not.toHaveProperty('encoding');
    expect(JSON.parse(write(record({ contentType: 'image/png' }), stored))).toMatchObject({
      encoding: 'base64',
      data: '',
    });
  });

  it('has no offset for class none', () => {
    expect(write(record({ data: '1' }), false)).toBe('{"topic":"a/b","time":1732187589123,"data":1}');
    expect(JSON.parse(write(record({ data: '1', id: 'x' }), false))).not.toHaveProperty('offset');
  });

  it('carries text as a string and anything else as base64', () => {
    const nasty = 'a\r\nb\0\u2028"\\ü😀\u007f","data":"forged"}\n\ndata: x';
    expect(JSON.parse(write(record({ data: nasty, contentType: 'text/plain; charset=utf-8' })))).toMatchObject({
      data: nasty,
    });
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(JSON.parse(write(record({ data: bytes, contentType: 'application/octet-stream' })))).toMatchObject({
      encoding: 'base64',
      data: Buffer.from(bytes).toString('base64'),
    });
  });

  it('cannot be forged by a payload', () => {
    const forged = '{"topic":"$sys/x","offset":1,"data":{"a":"}\\n{"},"time":0}';
    expect(JSON.parse(write(record({ data: forged })))).toEqual({
      topic: 'a/b',
      offset: 7,
      time: 1_732_187_589_123,
      data: JSON.parse(forged),
    });
  });

  it('reads a payload that is a part of a larger buffer', () => {
    const whole = Buffer.from('xx[1,\n2]yy');
    expect(JSON.parse(envelopeText(record({ data: whole.subarray(2, 8) })))).toMatchObject({ data: [1, 2] });
    expect(JSON.parse(envelopeText(record({ data: whole.subarray(0, 2), contentType: 'text/plain' })))).toMatchObject({
      data: 'xx',
    });
  });

  it('keeps within its bound and parses to what went in, whatever that is', () => {
    const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).filter(s => s.isWellFormed());
    const optional = fc.option(text, { nil: undefined });
    fc.assert(
      fc.property(
        fc.record({
          topic: text,
          id: optional,
          key: optional,
          by: optional,
          event: optional,
          headers: fc.option(fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), text), { nil: undefined }),
          contentType: fc.constantFrom(undefined, 'text/plain', 'application/octet-stream', 'application/x+json'),
          end: fc.boolean(),
        }),
        fc.oneof(
          fc.json().map(json => new TextEncoder().encode(json)),
          fc.uint8Array({ maxLength: 700 }),
        ),
        fc.boolean(),
        (fields, data, stored) => {
          const kind = payloadKind(fields.contentType);
          fc.pre(kind !== 'json' || isJson(data));
          const envelope = JSON.parse(write(record({ ...fields, data }), stored));
          expect(envelope.topic).toBe(fields.topic);
          expect(envelope.offset).toBe(stored ? 7 : undefined);
          for (const name of ['id', 'key', 'by', 'event', 'contentType'] as const)
            expect(envelope[name]).toBe(fields[name]);
          expect(envelope.headers).toEqual(fields.headers === undefined ? undefined : { ...fields.headers });
          if (data.length === 0 && (fields.key !== undefined || fields.end))
            expect(envelope).not.toHaveProperty('data');
          else if (kind === 'json') expect(envelope.data).toEqual(JSON.parse(new TextDecoder().decode(data)));
          else if (kind === 'text') expect(envelope.data).toBe(Buffer.from(data).toString());
          else expect(Buffer.from(envelope.data, 'base64')).toEqual(Buffer.from(data));
        },
      ),
      { numRuns: 1000 },
    );
  });
});

function isJson(data: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data));
    return true;
  } catch {
    return false;
  }
}
