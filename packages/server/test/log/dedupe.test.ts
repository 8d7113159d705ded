import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Dedupe } from '../../src/log/dedupe.ts';
import { tooOld, unseen } from '../../src/log/producer.ts';
import { message } from './messages.ts';

/** What protocol.md §1 says, as plainly as it can be written. */
class NaiveProducer {
  readonly seen = new Map<number, number>();

  find(sequence: number): number {
    const highest = Math.max(-1, ...this.seen.keys());
    if (sequence < highest - 1024) return tooOld;
    return this.seen.get(sequence) ?? unseen;
  }
}

describe('de-duplication', () => {
  test('judges producer sequences as the plain rule does', () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: -40, max: 40 }) },
      { weight: 2, arbitrary: fc.integer({ min: -1100, max: 1100 }) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 5000 }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), steps => {
        const dedupe = new Dedupe();
        const naive = new NaiveProducer();
        let near = 0;
        steps.forEach((jump, i) => {
          const sequence = Math.max(0, near + jump);
          const sent = message('a', '', { producer: 'p', sequence });
          const found = dedupe.find(sent);
          expect(found).toBe(naive.find(sequence));
          if (found === unseen) {
            naive.seen.set(sequence, i + 1);
            dedupe.add(sent, i + 1, 1000 + i);
            expect(dedupe.find(sent)).toBe(i + 1);
            expect(dedupe.foundTime).toBe(1000 + i);
            near = Math.max(near, sequence);
          }
          if (jump % 3 === 0) dedupe.commit(i + 1);
        });
      }),
      { numRuns: 300 },
    );
  });

  test('remembers the last ids, and the young ones beyond, up to the limit', () => {
    const dedupe = new Dedupe({ ids: 10, ageMs: 1000, limit: 30 });
    const add = (n: number, time: number) => {
      dedupe.add(message('a', '', { id: `${n}` }), n, time);
      dedupe.commit(n);
    };
    const known = (n: number) => dedupe.find(message('a', '', { id: `${n}` })) === n;
    for (let n = 1; n <= 20; n++) add(n, n);
    expect(dedupe.idCount).toBe(20);
    add(21, 1010);
    // 1 to 10 are a second old and not among the last ten
    expect([10, 11, 21].map(known)).toEqual([false, true, true]);
    for (let n = 22; n <= 60; n++) add(n, 1011);
    expect(dedupe.idCount).toBe(30);
    expect(dedupe.idsCutShort).toBeGreaterThan(0);
    expect(known(31) && !known(30)).toBe(true);
  });

  test('rollback forgets what was never appended and nothing else', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(60), { maxLength: 80 }), fc.nat(80), fc.nat(80), (sequences, head, before) => {
        const options = { ids: 12, ageMs: 0, limit: 12 };
        const dedupe = new Dedupe(options);
        const kept = new Dedupe(options);
        sequences.forEach((sequence, i) => {
          // beyond its window a producer forgets what a rollback must bring back
          const sent = message('a', '', { id: `${sequence}`, producer: 'p', sequence: sequence * 100 });
          if (dedupe.find(sent) !== unseen) return;
          dedupe.add(sent, i + 1, 1);
          if (i + 1 <= head) kept.add(sent, i + 1, 1);
          if (i < Math.min(head, before)) dedupe.commit(i + 1);
        });
        dedupe.rollback(head);
        for (const one of [dedupe, kept]) one.commit(head);
        for (let sequence = 0; sequence <= 60; sequence++) {
          const byId = message('a', '', { id: `${sequence}` });
          const bySequence = message('a', '', { producer: 'p', sequence: sequence * 100 });
          expect(dedupe.find(byId)).toBe(kept.find(byId));
          expect(dedupe.find(bySequence)).toBe(kept.find(bySequence));
        }
        expect(dedupe.producerCount).toBe(kept.producerCount);
      }),
    );
  });

  test('keeps producers within their number, the least used go first', () => {
    const dedupe = new Dedupe({ producers: 32 });
    for (let n = 1; n <= 100; n++) {
      dedupe.add(message('a', '', { producer: `p${n}`, sequence: 1 }), n, 1);
      dedupe.commit(n);
    }
    expect(dedupe.producerCount).toBeLessThanOrEqual(32);
    expect(dedupe.find(message('a', '', { producer: 'p100', sequence: 1 }))).toBe(100);
    expect(dedupe.find(message('a', '', { producer: 'p1', sequence: 1 }))).toBe(unseen);
  });
});
