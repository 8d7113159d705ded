import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rawElements, rawMember } from '../src/json-raw.ts';

const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/);

/** Text that JSON.parse takes, written with random space, escapes and repeated names. */
const jsonText: fc.Arbitrary<string> = fc.letrec<{ value: string; object: string; array: string; string: string }>(
  tie => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.constantFrom(
        'null',
        'true',
        'false',
        '0',
        '-0',
        '12345678901234567890',
        '1e400',
        '-1.5E-3',
        '""',
        '"\\""',
        '"\\\\"',
        '"]"',
        '"}"',
        '"{,:["',
      ),
      tie('string'),
      tie('object'),
      tie('array'),
    ),
    string: fc
      .tuple(fc.string({ unit: 'binary', maxLength: 6 }), fc.boolean())
      .map(([text, escaped]) => (escaped ? escapeAll(text) : JSON.stringify(text))),
    object: fc
      .tuple(
        space,
        fc.array(
          fc.tuple(
            fc.oneof(tie('string'), fc.constantFrom('"data"', '"\\u0064ata"', '"d\\u0061ta"', '"datA"', '"topic"')),
            space,
            space,
            tie('value'),
            space,
          ),
          { maxLength: 4 },
        ),
      )
      .map(
        ([inner, members]) =>
          `{${inner}${members.map(([name, a, b, value, c]) => `${name}${a}:${b}${value}${c}`).join(',')}}`,
      ),
    array: fc
      .tuple(space, fc.array(fc.tuple(space, tie('value'), space), { maxLength: 4 }))
      .map(([inner, items]) => `[${items.length === 0 ? inner : items.map(parts => parts.join('')).join(',')}]`),
  }),
).value;

function escapeAll(text: string): string {
  let json = '"';
  for (let i = 0; i < text.length; i++) json += `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return `${json}"`;
}

describe('the source text of JSON values', () => {
  it('is found for the member that JSON.parse would take', () => {
    const object = fc
      .tuple(
        space,
        fc.array(
          fc.tuple(
            fc.constantFrom('"data"', '"\\u0064at\\u0061"', '"dat"', '"data "', '"\\"data\\""', '"__proto__"'),
            space,
            space,
            jsonText,
            space,
          ),
          { maxLength: 6 },
        ),
        space,
      )
      .map(
        ([a, members, b]) =>
          `${a}{${members.map(([name, c, d, value, e]) => `${c}${name}${d}:${value}${e}`).join(',')}}${b}`,
      );
    fc.assert(
      fc.property(object, text => {
        const value = JSON.parse(text) as { data?: unknown };
        const span = rawMember(text, 0, 'data');
        if (!Object.hasOwn(value, 'data')) expect(span).toBeUndefined();
        else {
          const raw = text.slice(span!.start, span!.end);
          expect(raw).toBe(raw.trim());
          expect(JSON.parse(raw)).toEqual(value.data);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('is found for every element of an array, in the middle of other text', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(space, jsonText, space)), space, (items, before) => {
        const text = `xx${before}[${items.map(parts => parts.join('')).join(',')}]]`;
        const spans = rawElements(text, 2);
        expect(spans.map(({ start, end }) => text.slice(start, end))).toEqual(items.map(([, value]) => value));
      }),
      { numRuns: 3000 },
    );
  });

  it('is found in a payload nested a hundred thousand deep', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    expect(rawMember(`{"data":${deep}}`, 0, 'data')).toEqual({ start: 8, end: 8 + deep.length });
  });
});
