import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  answeredAfter,
  GradeCounts,
  gradeOf,
  jitterOf,
  msOf,
  type RoundTrip,
  roundTripOf,
  unmeasured,
  usualAfter,
} from '../../src/gateway/round-trip.ts';

const ms = fc.nat({ max: 0xfffe });

/** Both windows after answers that took so long. */
function after(answers: readonly number[]): { newest: RoundTrip; usual: RoundTrip } {
  let newest = unmeasured;
  let usual = unmeasured;
  for (const answer of answers) {
    newest = answeredAfter(answer, newest);
    usual = usualAfter(usual, newest);
  }
  return { newest, usual };
}

describe('a round trip', () => {
  it('is one small integer that gives back both of its parts', () => {
    fc.assert(
      fc.property(ms, ms, (time, jitter) => {
        const roundTrip = roundTripOf(time, jitter);
        expect([msOf(roundTrip), jitterOf(roundTrip)]).toEqual([time, jitter]);
        expect(roundTrip).toBe(roundTrip | 0);
        expect(roundTrip).not.toBe(unmeasured);
      }),
    );
    expect(msOf(roundTripOf(1e9, 1e9))).toBe(0xfffe);
    expect(jitterOf(roundTripOf(1e9, 1e9))).toBe(0xfffe);
  });

  it('has in its newest window the last answer, and its difference to the one before', () => {
    expect(msOf(after([80]).newest)).toBe(80);
    expect(jitterOf(after([80]).newest)).toBe(0);
    expect(jitterOf(after([80, 30]).newest)).toBe(50);
    expect(jitterOf(after([80, 30, 90]).newest)).toBe(60);
  });

  it('has in its usual window what answers have taken for a while', () => {
    const steady = after(Array.from({ length: 50 }, () => 600)).usual;
    expect([msOf(steady), jitterOf(steady)]).toEqual([600, 0]);
    // one that is late shows in the newest window at once, and an eighth of it in the usual one
    const once = after([...Array.from({ length: 50 }, () => 600), 1400]);
    expect(msOf(once.newest)).toBe(1400);
    expect([msOf(once.usual), jitterOf(once.usual)]).toEqual([700, 100]);
    const swinging = after(Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? 200 : 1000))).usual;
    expect(msOf(swinging)).toBeGreaterThan(500);
    expect(msOf(swinging)).toBeLessThan(700);
    expect(jitterOf(swinging)).toBeGreaterThan(750);
  });

  it('reaches what stays the same, however small the difference', () => {
    fc.assert(
      fc.property(ms, fc.nat({ max: 20_000 }), (first, then) => {
        const usual = after([first, ...Array.from({ length: 120 }, () => then)]).usual;
        expect([msOf(usual), jitterOf(usual)]).toEqual([then, 0]);
      }),
    );
  });

  it('is graded by the intervals that an answer takes: less than one, up to three, more', () => {
    expect([0, 9999, 10_000, 20_000, 30_000, 30_001].map(time => gradeOf(time, 10_000))).toEqual([
      'prompt',
      'prompt',
      'late',
      'late',
      'late',
      'lost',
    ]);
  });

  it('is counted by window and grade', () => {
    const counts = new GradeCounts();
    counts.add('newest', 5, 10);
    counts.add('newest', 25, 10);
    counts.add('newest', 35, 10);
    counts.add('usual', 5, 10);
    counts.add('usual', 6, 10);
    expect([...counts].map(([labels, count]) => [...labels, count])).toEqual([
      ['newest', 'prompt', 1],
      ['newest', 'late', 1],
      ['newest', 'lost', 1],
      ['usual', 'prompt', 2],
      ['usual', 'late', 0],
      ['usual', 'lost', 0],
    ]);
  });
});
