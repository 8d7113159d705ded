import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDuration, formatSize, parseDuration, parseSize } from '../../src/config/units.ts';

describe('durations', () => {
  test.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['1.5h', 5_400_000],
    ['0.1s', 100],
    ['7d', 604_800_000],
    ['5 m', 300_000],
    ['250', 250],
    [250, 250],
    ['0s', 0],
    [0, 0],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    '',
    's',
    '-5s',
    '5 minutes',
    '1e3',
    '0.0001ms',
    '1.2.3s',
    '5w',
    '9007199254740993',
    -1,
    1.5,
    Number.NaN,
    null,
    true,
    [],
    {},
  ])('%j is none', value => {
    expect(parseDuration(value)).toBeUndefined();
  });

  test('what is written is read back', () => {
    fc.assert(fc.property(fc.nat({ max: 2 ** 50 }), ms => parseDuration(formatDuration(ms)) === ms));
  });

  test('the largest unit that is exact', () => {
    expect([0, 90_000, 60_000, 86_400_000, 1001].map(formatDuration)).toEqual(['0ms', '90s', '1m', '1d', '1001ms']);
  });
});

describe('sizes', () => {
  test.each([
    ['64MiB', 67_108_864],
    ['64MB', 64_000_000],
    ['1.5KiB', 1536],
    ['512B', 512],
    ['512', 512],
    ['64mib', 67_108_864],
    [1, 1],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  // "64M" could be either
  test.each(['64M', '64K', 'MiB', '-1B', '0.3B', '10000TiB', 1.5])('%j is none', value => {
    expect(parseSize(value)).toBeUndefined();
  });

  test('what is written is read back', () => {
    fc.assert(fc.property(fc.nat({ max: 2 ** 50 }), bytes => parseSize(formatSize(bytes)) === bytes));
  });
});
