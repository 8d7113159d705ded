import { describe, expect, test } from 'vitest';
import { fragmented, ping, text } from './client-frames.ts';
import { bytewise, record, type WireEvent } from './recorder.ts';

// Group 6 of the Autobahn test suite. Every sequence is sent alone and in the middle of other text, whole and cut into
// frames at each byte, and each stream is read in one chunk and byte by byte.

function outcomes(bytes: Uint8Array): WireEvent[][] {
  const around = [bytes, Buffer.concat([Buffer.from('Hello-µ@ß'), bytes, Buffer.from('-UTF-8!!')])];
  return around.flatMap(payload => {
    const streams = [text(payload), fragmented(1, bytewise(payload)), fragmented(1, bytewise(payload), ping())];
    for (let at = 1; at < payload.length; at++)
      streams.push(fragmented(1, [payload.subarray(0, at), payload.subarray(at)]));
    return streams.flatMap(stream =>
      [[stream], bytewise(stream)].map(slices => record(slices).events.filter(({ type }) => type !== 'ping')),
    );
  });
}

const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(' ', ''), 'hex');

describe('valid', () => {
  test.each([
    ['κόσμε', 'ce ba e1 bd b9 cf 83 ce bc ce b5'],
    ['U+0000', '00'],
    ['U+007F', '7f'],
    ['U+0080', 'c2 80'],
    ['U+07FF', 'df bf'],
    ['U+0800', 'e0 a0 80'],
    ['U+D7FF', 'ed 9f bf'],
    ['U+E000', 'ee 80 80'],
    ['U+FFFD', 'ef bf bd'],
    ['the noncharacter U+FFFE', 'ef bf be'],
    ['the noncharacter U+FFFF', 'ef bf bf'],
    ['U+10000', 'f0 90 80 80'],
    ['U+10FFFF', 'f4 8f bf bf'],
    ['a byte order mark', 'ef bb bf'],
  ])('%s', (_, digits) => {
    const events = outcomes(hex(digits));
    expect(events.every(([event, ...more]) => event?.type === 'text' && more.length === 0)).toBe(true);
    expect(events[0]).toEqual([{ type: 'text', data: hex(digits).toString('latin1') }]);
  });
});

describe('refused with 1007', () => {
  test.each([
    ['a lone continuation byte', '80'],
    ['another', 'bf'],
    ['six continuation bytes', '80 bf 80 bf 80 bf'],
    ['two bytes cut', 'c3'],
    ['three bytes cut', 'e2 98'],
    ['four bytes cut', 'f0 9f 98'],
    ['a lead byte before ASCII', 'c3 28'],
    ['overlong / in two bytes', 'c0 af'],
    ['overlong / in three bytes', 'e0 80 af'],
    ['overlong / in four bytes', 'f0 80 80 af'],
    ['overlong U+0000', 'c0 80'],
    ['the greatest overlong of two bytes', 'c1 bf'],
    ['the greatest overlong of three bytes', 'e0 9f bf'],
    ['the greatest overlong of four bytes', 'f0 8f bf bf'],
    ['the surrogate U+D800', 'ed a0 80'],
    ['the surrogate U+DFFF', 'ed bf bf'],
    ['a pair of surrogates', 'ed a0 bd ed b8 80'],
    ['U+110000', 'f4 90 80 80'],
    ['five bytes', 'f8 88 80 80 80'],
    ['six bytes', 'fc 84 80 80 80 80'],
    ['FE', 'fe'],
    ['FF', 'ff'],
    ['κόσμε with a surrogate', 'ce ba e1 bd b9 cf 83 ce bc ce b5 ed a0 80 65 64 69 74 65 64'],
  ])('%s', (_, digits) => {
    for (const events of outcomes(hex(digits))) expect(events).toEqual([{ type: 'error', code: 1007 }]);
  });
});

test('binary messages may be anything', () => {
  expect(record([fragmented(2, [hex('ff'), hex('c3')])]).events).toEqual([{ type: 'binary', data: '\xff\xc3' }]);
});
