import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonValueEnd } from '../src/json-check.ts';

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function valueEnd(text: string, at = 0): number {
  return jsonValueEnd(Buffer.from(text), at);
}

/** It may give up on what is deep or has a line feed, but never takes what JSON.parse would not. */
function agrees(text: string): void {
  const bytes = Buffer.from(text);
  const end = jsonValueEnd(bytes, 0);
  const rest = end === -1 ? '' : bytes.toString('utf8', end);
  if (end !== -1 && /^[ \t\r\n]*$/.test(rest)) expect([text, parses(text)]).toEqual([text, true]);
  else expect([text, parses(text) && depth(text) <= 31 && !text.includes('\n')]).toEqual([text, false]);
  if (end !== -1) expect([text, parses(bytes.toString('utf8', 0, end))]).toEqual([text, true]);
}

function depth(text: string): number {
  let deepest = 0;
  let now = 0;
  for (const c of text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '')) {
    if (c === '[' || c === '{') deepest = Math.max(deepest, ++now);
    if (c === ']' || c === '}') now--;
  }
  return deepest;
}

describe('the check of JSON without parsing', () => {
  it('agrees with JSON.parse on JSON, however it is spaced', () => {
    fc.assert(
      fc.property(
        fc.jsonValue({ maxDepth: 6, noUnicodeString: false }),
        fc.constantFrom(0, 1, '\t', '\r'),
        (value, space) => {
          const text = JSON.stringify(value, null, space).replaceAll('\n', ' ');
          const length = Buffer.byteLength(text);
          expect(valueEnd(text)).toBe(length);
          expect(valueEnd(`xx${text},`, 2)).toBe(length + 2);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('agrees with JSON.parse on text made of pieces of JSON', () => {
    const piece = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '""',
      '\\',
      '\\n',
      '\\u12',
      '\\ud83d',
      '0',
      '1',
      '-',
      '.',
      'e',
      'E+',
      '12',
      'true',
      'null',
      'fals',
      ' ',
      '\n',
      '\t',
      '\u00a0',
      '\u2028',
      '\0',
      '\v',
      'ü',
      '\ufeff',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), pieces => agrees(pieces.join(''))),
      { numRuns: 20_000 },
    );
  });

  it('agrees with JSON.parse on JSON with one character changed', () => {
    fc.assert(
      fc.property(
        fc.json({ maxDepth: 4 }),
        fc.nat(),
        fc.constantFrom(
          '',
          '"',
          '\\',
          '{',
          '}',
          '[',
          ']',
          ',',
          ':',
          '0',
          '-',
          '.',
          'e',
          '+',
          ' ',
          '\n',
          '\u001f',
          'x',
          ',,',
        ),
        (json, at, change) => {
          const i = at % json.length;
          agrees(json.slice(0, i) + change + json.slice(i + 1));
          agrees(json.slice(0, i) + change + json.slice(i));
          agrees(json.slice(0, i));
        },
      ),
      { numRuns: 20_000 },
    );
  });

  it.each([
    '',
    ' ',
    '01',
    '-',
    '-01',
    '1.',
    '.1',
    '1e',
    '1e+',
    '+1',
    '0x1',
    'NaN',
    'Infinity',
    'tru',
    'truex',
    'nul',
    'undefined',
    "'a'",
    '"\n"',
    '"\t"',
    '"\\x41"',
    '"\\u00g0"',
    '"\\u00',
    '[1,]',
    '[,1]',
    '{,}',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{a:1}',
    '{1:1}',
    '[1 2]',
    '{"a" 1}',
    '[}',
    '{]',
    '"',
    '[',
    '{',
  ])('does not take %j', text => {
    const end = valueEnd(text);
    expect(end === text.length && text !== '').toBe(false);
    agrees(text);
  });

  it('gives up on what is deeper than it can follow', () => {
    const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
    expect(valueEnd(nested(31))).toBe(62);
    expect(valueEnd(nested(32))).toBe(-1);
    expect(valueEnd(nested(1_000_000))).toBe(-1);
  });
});
