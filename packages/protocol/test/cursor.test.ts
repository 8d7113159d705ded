import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Cursor,
  cursorPrefix,
  cursorSuffix,
  cursorTokenMaxBytes,
  formatCursor,
  isTailraceError,
  lastMaxCount,
  parseCursor,
  parseFrom,
} from '../src/index.ts';

const cursor: fc.Arbitrary<Cursor> = fc.record({
  log: fc.stringMatching(/^[a-z0-9]{4,16}$/),
  epoch: fc.integer({ min: 0, max: 36 ** 10 - 1 }),
  offset: fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  time: fc.integer({ min: 0, max: 36 ** 10 - 1 }),
});

const inSnapshot: fc.Arbitrary<Cursor> = fc
  .tuple(cursor, fc.constantFrom('snapshot', 'told'), fc.nat({ max: Number.MAX_SAFE_INTEGER }))
  .map(([value, what, offset]) => ({ ...value, [what]: offset }));

function refused(read: () => unknown): boolean {
  try {
    read();
    return false;
  } catch (error) {
    if (!isTailraceError(error)) throw error;
    expect(error.code).toBe('cursor_invalid');
    return true;
  }
}

describe('cursor tokens', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(cursor, value => {
        const token = formatCursor(value);
        expect(parseCursor(token)).toEqual(value);
        expect(token).toMatch(/^[A-Za-z0-9._-]+$/);
        expect(token.length).toBeLessThanOrEqual(cursorTokenMaxBytes);
        expect(cursorPrefix(value.log, value.epoch) + cursorSuffix(value.offset, value.time)).toBe(token);
      }),
    );
  });

  it('say of which snapshot they are in the middle', () => {
    fc.assert(
      fc.property(inSnapshot, value => {
        expect(parseCursor(formatCursor(value))).toEqual(value);
      }),
    );
  });

  it('are refused when no server made them', () => {
    for (const bad of [
      '',
      'k',
      'x'.repeat(2000),
      'kabcd.1.2',
      'kabcd.1.2.3.x',
      'kabcd.1.2.3.4.5',
      'kabcd.1.2.3.99999999999999999',
      'Kabcd.1.2.3',
      'kabc.1.2.3',
      'kABCD.1.2.3',
      'kabcd.-1.2.3',
      'kabcd.1.-2.3',
      'kabcd.1.1e3.3',
      'kabcd.1.9999999999999999.3',
      'kabcd.1.2.3\n',
      ' kabcd.1.2.3',
      'kabcd.1.2.3 ',
      'kabcd.1.\u0662.3',
      'kabcd\0.1.2.3',
    ])
      expect([bad, refused(() => parseCursor(bad))]).toEqual([bad, true]);
  });

  it('never fail otherwise, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), text => {
        if (!refused(() => parseCursor(text))) expect(formatCursor(parseCursor(text))).toBeTypeOf('string');
      }),
    );
    fc.assert(
      fc.property(
        cursor,
        fc.nat(),
        fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
        (value, at, character) => {
          const token = formatCursor(value);
          const i = at % token.length;
          const changed = token.slice(0, i) + character + token.slice(i + 1);
          if (refused(() => parseCursor(changed))) return;
          for (const number of [parseCursor(changed).epoch, parseCursor(changed).offset, parseCursor(changed).time])
            expect(Number.isSafeInteger(number) && number >= 0).toBe(true);
        },
      ),
    );
  });
});

describe('from', () => {
  const now = 1_800_000_000_000;
  it.each([
    ['now', { at: 'now' }],
    ['earliest', { at: 'earliest' }],
    ['last', { at: 'last', count: undefined }],
    ['last:1', { at: 'last', count: 1 }],
    [`last:${lastMaxCount}`, { at: 'last', count: lastMaxCount }],
    ['@0', { at: 'offset', offset: 0 }],
    ['@9007199254740991', { at: 'offset', offset: Number.MAX_SAFE_INTEGER }],
    ['-5m', { at: 'time', time: now - 300_000 }],
    ['-250ms', { at: 'time', time: now - 250 }],
    ['-1d', { at: 'time', time: now - 86_400_000 }],
    ['-999999999999d', { at: 'time', time: 0 }],
    ['2026-11-21T10:00:00Z', { at: 'time', time: Date.UTC(2026, 10, 21, 10) }],
    ['2026-11-21T10:00:00.250+02:00', { at: 'time', time: Date.UTC(2026, 10, 21, 8) + 250 }],
    ['1960-01-01T00:00:00Z', { at: 'time', time: 0 }],
  ])('reads %s', (text, from) => expect(parseFrom(text, now)).toEqual(from));

  it.each([
    '',
    'NOW',
    'later',
    'last:0',
    'last:-1',
    `last:${lastMaxCount + 1}`,
    'last:',
    'last:1.5',
    '@',
    '@-1',
    '@1.5',
    '@9007199254740993',
    '@99999999999999999',
    '-5',
    '-m',
    '5m',
    '-5w',
    '-5m ',
    '+5m',
    '2026-11-21',
    '2026-11-21 10:00:00Z',
    '2026-13-21T10:00:00Z',
    '2026-11-21T10:00:00',
    '2026-11-21T25:00:00Z',
    '2026-11-21T24:00:00Z',
    '2026-02-30T00:00:00Z',
    '2026-02-29T00:00:00+01:00',
    '2100-02-29T00:00:00Z',
    '2026-04-31T23:59:59.5z',
    '2026-00-10T00:00:00Z',
    '2026-01-00T00:00:00Z',
    '0',
    'kabcd.1.2.3',
  ])('refuses %j', text => expect(refused(() => parseFrom(text, now))).toBe(true));

  it('is refused by the name of the parameter that held it', () => {
    expect(() => parseFrom('later', now)).toThrow(/^from="later": /);
    expect(() => parseFrom('later', now, 'to')).toThrow(/^to="later": /);
  });

  it('takes exactly the dates that are in the calendar, and reads them as the same date', () => {
    const part = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });
    fc.assert(
      fc.property(
        fc.integer({ min: 1971, max: 9998 }),
        part(13),
        fc.oneof(part(32), fc.integer({ min: 28, max: 32 })),
        fc.tuple(part(23), part(59), part(59)),
        fc.option(fc.stringMatching(/^[0-9]{1,9}$/), { nil: undefined }),
        fc.record({ sign: fc.constantFrom(1, -1), hours: part(23), minutes: part(59) }),
        (year, month, day, clock, fraction, { sign, hours, minutes }) => {
          const two = (value: number): string => String(value).padStart(2, '0');
          const date = `${year}-${two(month)}-${two(day)}`;
          const text = `${date}T${clock.map(two).join(':')}${fraction === undefined ? '' : `.${fraction}`}${sign === 1 ? '+' : '-'}${two(hours)}:${two(minutes)}`;
          const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
          const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0;
          expect([text, refused(() => parseFrom(text, now))]).toEqual([text, day < 1 || day > days]);
          if (day < 1 || day > days) return;
          const from = parseFrom(text, now) as { readonly time: number };
          const there = new Date(from.time + sign * (hours * 60 + minutes) * 60_000);
          expect(there.toISOString().slice(0, 19)).toBe(text.slice(0, 19));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('never gives a time that is no time', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 30 }),
          fc.stringMatching(/^-\d{1,13}(ms|s|m|h|d)$/),
          fc.date({ noInvalidDate: true }).map(date => date.toISOString()),
        ),
        text => {
          if (refused(() => parseFrom(text, now))) return;
          const from = parseFrom(text, now);
          if (from.at === 'time') expect(Number.isInteger(from.time) && from.time >= 0).toBe(true);
        },
      ),
    );
  });
});
