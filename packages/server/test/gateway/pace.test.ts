import { heartbeatMax, heartbeatMin } from '@tailrace/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { againOf, intervalOf, neededBy, pingsMax, waitOf } from '../../src/gateway/pace.ts';
import { roundTripOf, unmeasured } from '../../src/gateway/round-trip.ts';

const chosen = fc.integer({ min: heartbeatMin, max: heartbeatMax });

describe('the pace of pings', () => {
  it('is the chosen interval, and 10 s after a ping without answer', () => {
    for (const interval of [5000, 10_000, 25_000, 28_000]) {
      expect([intervalOf(interval, 0), waitOf(interval, 0)]).toEqual([interval, Math.min(10_000, interval)]);
    }
  });

  it('finds a dead peer within 60 s, whatever was chosen and measured', () => {
    fc.assert(
      fc.property(chosen, fc.nat({ max: 65_534 }), fc.nat({ max: 65_534 }), (interval, ms, jitter) => {
        const needed = neededBy(roundTripOf(ms, jitter), roundTripOf(ms, jitter));
        // two seconds are four steps of the wheel
        expect(intervalOf(interval, needed) + pingsMax * waitOf(interval, needed) + 2000).toBeLessThanOrEqual(
          60_000.001,
        );
      }),
    );
  });

  it('gives a slow peer as much time as it needs, up to what 60 s leave', () => {
    fc.assert(
      fc.property(chosen, fc.oneof(fc.nat({ max: 12_000 }), fc.nat({ max: 65_534 })), (interval, ms) => {
        const needed = neededBy(roundTripOf(ms, 0), roundTripOf(ms, 0));
        const wait = waitOf(interval, needed);
        expect(wait).toBeGreaterThanOrEqual(Math.min(needed, (60_000 - 2000 - heartbeatMin) / pingsMax) - 0.001);
        expect(intervalOf(interval, needed)).toBeGreaterThanOrEqual(heartbeatMin);
        expect(intervalOf(interval, needed)).toBeLessThanOrEqual(interval);
      }),
    );
  });

  it('stays as chosen for whoever answers before the ping is due again', () => {
    fc.assert(
      fc.property(chosen, fc.nat({ max: 10_000 }), (interval, needed) => {
        fc.pre(needed <= Math.min(againOf(interval), waitOf(interval, 0)));
        expect(intervalOf(interval, needed)).toBe(interval);
        expect(waitOf(interval, needed)).toBe(waitOf(interval, 0));
      }),
    );
  });

  it('needs the longer of what the last answer took and of what answers usually take with their jitter', () => {
    expect(neededBy(unmeasured, unmeasured)).toBe(0);
    expect(neededBy(roundTripOf(12_000, 9000), roundTripOf(600, 100))).toBe(12_000);
    expect(neededBy(roundTripOf(600, 0), roundTripOf(3000, 2500))).toBe(13_000);
  });
});
