import { heartbeatMin } from '@tailrace/protocol';
import { jitterOf, msOf, type RoundTrip, unmeasured } from './round-trip.ts';

/*
 * How a peer is asked whether it lives (B2):
 *
 *   heard of            ping           ping           ping            gone
 *      ├─ interval, 25 s ─┼─ wait, 10 s ─┼─ wait, 10 s ─┼─ wait, 10 s ─┤
 *
 * All of it fits into 60 s. A peer that is known to answer slowly is given a longer wait, and pays for it with a shorter
 * interval.
 */

/** Pings without any sign of life after which a peer is gone. */
export const pingsMax = 3;
/** A ping is sent again after this, ms, unless the peer is known to be slower. */
const againAfter = 10_000;
/** A dead peer is found within 60 s: that, less what four steps of the wheel may add, ms. */
const foundWithin = 58_000;

/** After how long a peer without signs of life is asked again, ms: also the interval by which its answers are graded. */
export function againOf(interval: number): number {
  return Math.min(againAfter, interval);
}

/** Time within which an answer may be expected, ms: RFC 6298 §2 has the four deviations. */
export function neededBy(newest: RoundTrip, usual: RoundTrip): number {
  return usual === unmeasured ? 0 : Math.max(msOf(newest), msOf(usual) + 4 * jitterOf(usual));
}

/** The time from a sign of life to the next ping, ms: what was chosen, less what a slow peer needs for its answers. */
export function intervalOf(chosen: number, needed: number): number {
  return Math.min(chosen, Math.max(heartbeatMin, foundWithin - pingsMax * needed));
}

/** How long each ping waits for a sign of life, ms. */
export function waitOf(chosen: number, needed: number): number {
  return Math.min(Math.max(againOf(chosen), needed), (foundWithin - intervalOf(chosen, needed)) / pingsMax);
}
