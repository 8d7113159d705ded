import { filterSet } from '@tailrace/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Log, nothingDropped } from '../../src/log/log.ts';
import type { ContractSubject } from './contract.ts';
import { ManualClock } from './manual-clock.ts';
import { message, offsetOf, readAllOf, until } from './messages.ts';

const everything = filterSet(['#']);

/** What `deleteTopic` does in every implementation of `Log`. */
export function deletionContract(name: string, subject: ContractSubject): void {
  describe(`${name} deletes topics`, () => {
    let clock: ManualClock;
    let log: Log;

    beforeEach(async () => {
      clock = new ManualClock();
      log = await subject.open(clock, { keep: { rules: [{ filter: 'table', lastPerKey: true }] } });
    });

    afterEach(() => log.close());

    async function fill(count: number): Promise<void> {
      for (let i = 0; i < count; i++) {
        clock.advance(10);
        const key = { key: `k${i % 5}`, id: `${i}` };
        await log.append([message('a', 'x'.repeat(50), key), message('b', '2'), message('table', '3', key)], 'fsync');
      }
    }

    async function offsetsOf(...filters: string[]): Promise<number[]> {
      return (await readAllOf(log, filters)).map(({ offset }) => offset);
    }

    async function bothWays(check: () => Promise<void>): Promise<void> {
      await check();
      await until('the files are rewritten', () => log.status.deletionsPending === 0);
      clock.advance(1000);
      await check();
    }

    test('no read gives its records any more, and those of others stay as they were', async () => {
      await fill(40);
      const others = await offsetsOf('b', 'table');
      const newest = await log.positionOf(118);
      expect((await log.deleteTopic('a')).upTo).toEqual(newest);
      await bothWays(async () => {
        expect(await offsetsOf('a')).toEqual([]);
        expect(await offsetsOf('#')).toEqual(others);
        expect(await log.newest(filterSet(['a']), 3, log.head.offset)).toEqual(new Float64Array());
        expect(await log.newest(everything, 1, log.head.offset)).toEqual(Float64Array.of(119, 120));
        expect((await log.current(filterSet(['+']))).offsets).toEqual(Float64Array.of(108, 111, 114, 117, 119, 120));
        expect((await log.recordsAt(Float64Array.of(1, 2), 1000)).map(({ offset }) => offset)).toEqual([2]);
        expect((await log.recordsAt(Float64Array.of(2, 4, 5), 1000)).map(({ offset }) => offset)).toEqual([2]);
        expect(await log.recordsAt(Float64Array.of(1, 4, 118), 1000)).toEqual([]);
        expect((await log.topics('', '', 10)).map(({ topic }) => topic)).toEqual(['b', 'table']);
        expect((await log.topics('', '', 1)).map(({ topic }) => topic)).toEqual(['b']);
        expect([...log.hot.topics()]).not.toContain('a');
        expect(log.head.offset).toBe(120);
      });
    });

    test('who reads on from before is told, exactly', async () => {
      await fill(40);
      await log.deleteTopic('a');
      await bothWays(async () => {
        for (const [filters, after, records] of [
          [['a'], 0, 118],
          [['#'], 117, 118],
          [['a'], 118, 0],
          [['b'], 0, 0],
        ] as const) {
          const dropped = await log.droppedAfter(after, filterSet(filters));
          expect(dropped).toEqual(records === 0 ? nothingDropped : { records, deletions: 0 });
          let told = 0;
          for (let at: number = after; at < log.head.offset; ) {
            const slice = await log.read(at, log.head.offset, filterSet(filters), 500);
            if (slice.dropped.records > after) told = Math.max(told, slice.dropped.records);
            at = slice.next;
          }
          expect(told).toBe(records);
        }
      });
    });

    test('of a table it is told as a deletion, since keys are gone', async () => {
      await fill(40);
      expect(await log.keyAt('table', 'k1')).toBe(111);
      await log.deleteTopic('table');
      await bothWays(async () => {
        expect(await log.keyAt('table', 'k1')).toBe(0);
        expect((await log.current(filterSet(['table']))).offsets).toEqual(new Float64Array());
        expect(await log.droppedAfter(0, filterSet(['table']))).toEqual({ records: 120, deletions: 120 });
      });
      const [taken] = await log.append([message('table', 'n', { key: 'k1', expect: 0 })], 'fsync');
      expect(offsetOf(taken)).toBe(121);
      expect(await log.keyAt('table', 'k1')).toBe(121);
    });

    test('what is published later begins anew, with the same ids, also behind an end', async () => {
      await fill(40);
      await log.append([message('a', '1', { end: true })], 'fsync');
      expect(log.endedAt('a')).toBe(121);
      await log.deleteTopic('a');
      expect(log.endedAt('a')).toBe(0);
      expect(await log.append([message('a', 'new', { id: '39' })], 'fsync')).toMatchObject([
        { offset: 122, duplicate: false },
      ]);
      expect(await log.append([message('table', 'old', { id: '39' })], 'fsync')).toMatchObject([
        { offset: 120, duplicate: true },
      ]);
      await bothWays(async () => {
        expect(await offsetsOf('a')).toEqual([122]);
        expect((await log.topics('', '', 1)).map(({ lastOffset }) => lastOffset)).toEqual([122]);
      });
      expect((await log.deleteTopic('a')).upTo?.offset).toBe(122);
      await bothWays(async () => expect(await offsetsOf('a')).toEqual([]));
    });

    test('one without records is nothing to delete', async () => {
      await fill(3);
      expect(await log.deleteTopic('nobody')).toEqual({ upTo: undefined, pending: false });
      await log.deleteTopic('a');
      expect((await log.deleteTopic('a')).upTo === undefined).toBe(log.status.deletionsPending === 0);
      expect(await offsetsOf('b')).toHaveLength(3);
    });

    test('publishes that go on meanwhile are all there, before or after it', async () => {
      await fill(10);
      const acked = new Set(await offsetsOf('a', 'b'));
      let stop = false;
      const publishing = Array.from({ length: 4 }, async () => {
        while (!stop)
          for (const result of await log.append([message('a'), message('b')], 'written')) acked.add(offsetOf(result));
      });
      for (let i = 0; i < 5; i++) await new Promise(resolve => setImmediate(resolve));
      const ackedBefore = new Set(acked);
      const { upTo } = await log.deleteTopic('a');
      const sealed = log.head.offset + 1000;
      await until('more is published', () => log.head.offset > sealed);
      await until('the files are rewritten', () => log.status.deletionsPending === 0);
      stop = true;
      await Promise.all(publishing);
      const a = await offsetsOf('a');
      const b = await offsetsOf('b');
      for (const offset of ackedBefore) expect(offset <= upTo!.offset || b.includes(offset)).toBe(true);
      expect(a.every(offset => offset > upTo!.offset)).toBe(true);
      const expected = [...acked].filter(offset => offset > upTo!.offset).sort((x, y) => x - y);
      expect([...a, ...b].filter(offset => offset > upTo!.offset).sort((x, y) => x - y)).toEqual(expected);
    });
  });
}
