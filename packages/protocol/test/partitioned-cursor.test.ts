import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cursorTokenMaxBytes,
  formatPartitionedCursor,
  isPartitioned,
  isTailraceError,
  type PartitionedCursor,
  parsePartitionedCursor,
} from '../src/index.ts';

const cursor: fc.Arbitrary<PartitionedCursor> = fc
  .record({
    log: fc.stringMatching(/^[a-z0-9]{4,16}$/),
    time: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
    entries: fc.uniqueArray(
      fc.record({
        partition: fc.nat({ max: 40 }),
        epoch: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
        offset: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      }),
      { selector: ({ partition }) => partition, maxLength: 40 },
    ),
    snapshot: fc.option(fc.record({ partition: fc.nat({ max: 1000 }), offset: fc.nat() }), { nil: undefined }),
  })
  .map(({ snapshot, entries, ...rest }) => ({
    ...rest,
    entries: entries.sort((a, b) => a.partition - b.partition),
    ...(snapshot === undefined ? {} : { snapshot }),
  }));

describe('cursor tokens of several partitions', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(cursor, value => {
        const token = formatPartitionedCursor(value);
        expect(parsePartitionedCursor(token)).toEqual(value);
        expect(isPartitioned(token)).toBe(true);
        expect(token).toMatch(/^[A-Za-z0-9._-]+$/);
        expect(token.length).toBeLessThanOrEqual(cursorTokenMaxBytes);
      }),
    );
  });

  it('have room for 256 partitions, and leave out what they have no room for', () => {
    const of = (count: number, epochOf: (partition: number) => number, from: number): PartitionedCursor => ({
      log: 'abcdefgh',
      time: 1_800_000_000_000,
      entries: Array.from({ length: count }, (_, partition) => ({
        partition,
        epoch: epochOf(partition),
        offset: from + partition,
      })),
    });
    for (const fits of [
      of(256, () => 1_800_000_000, 9_000_000_000_000),
      of(256, partition => 1_800_000_000 + partition, 2_000_000_000),
    ])
      expect(parsePartitionedCursor(formatPartitionedCursor(fits))).toEqual(fits);
    const tooMany = of(256, partition => 1_800_000_000 + partition, 9_000_000_000_000);
    const token = formatPartitionedCursor(tooMany);
    expect(token.length).toBeLessThanOrEqual(cursorTokenMaxBytes);
    const { entries } = parsePartitionedCursor(token);
    expect(entries.length).toBeGreaterThan(200);
    expect(entries).toEqual(tooMany.entries.slice(0, entries.length));
  });

  it('are refused when no server made them', () => {
    for (const bad of [
      '',
      'w',
      'wabcd.1',
      'wabcd.1.O',
      'wabcd.1.X1',
      'wabcd.1.P1O1P1O2',
      'wabcd.1.O1P0O2',
      'wabcd.1.O1.s1',
      `wabcd.1.O${'z'.repeat(11)}`,
      ` wabcd.1.O1`,
      `wabcd.1.${'O1'.repeat(3000)}`,
    ]) {
      let code: string | undefined;
      try {
        parsePartitionedCursor(bad);
      } catch (error) {
        if (!isTailraceError(error)) throw error;
        code = error.code;
      }
      expect(code, bad).toBe('cursor_invalid');
    }
  });
});
