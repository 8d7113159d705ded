/**
 * How long a peer's answers take and how much that varies, in one window: round trip and jitter in ms, 16 bits each, in
 * one small integer, since every connection keeps two of these (B2).
 *
 * Two windows: `newest` is the last answer with its difference to the one before, `usual` the running mean of both over
 * about the last eight.
 */
export type RoundTrip = number;

/** Before the first answer. */
export const unmeasured: RoundTrip = -1;

/** A longer one is counted as this, ms: 0xffff twice would be `unmeasured`. */
const longest = 0xfffe;
/** Answers that the usual window weighs. */
const answers = 8;

export function roundTripOf(ms: number, jitter: number): RoundTrip {
  return (Math.min(ms, longest) << 16) | Math.min(jitter, longest);
}

export function msOf(roundTrip: RoundTrip): number {
  return roundTrip >>> 16;
}

export function jitterOf(roundTrip: RoundTrip): number {
  return roundTrip & 0xffff;
}

/** An answer that took `ms`, after `last`. */
export function answeredAfter(ms: number, last: RoundTrip): RoundTrip {
  return roundTripOf(ms, last === unmeasured ? 0 : Math.abs(ms - msOf(last)));
}

/** The usual one after another answer. */
export function usualAfter(usual: RoundTrip, newest: RoundTrip): RoundTrip {
  if (usual === unmeasured) return newest;
  return roundTripOf(nearer(msOf(usual), msOf(newest)), nearer(jitterOf(usual), jitterOf(newest)));
}

/** A step towards `value`, in whole ms, and never none: or a difference of less than `answers` would stay for ever. */
function nearer(mean: number, value: number): number {
  const step = (value - mean) / answers;
  return mean + (step > 0 ? Math.ceil(step) : Math.floor(step));
}

/** An answer came before its ping was due to be sent again, after that but within three such intervals, or later. */
export type Grade = 'prompt' | 'late' | 'lost';
export type Window = 'newest' | 'usual';

export function gradeOf(ms: number, interval: number): Grade {
  if (ms < interval) return 'prompt';
  return ms <= 3 * interval ? 'late' : 'lost';
}

/** Peers by window and grade. */
export class GradeCounts {
  readonly #counts: Readonly<Record<Window, Record<Grade, number>>> = {
    newest: { prompt: 0, late: 0, lost: 0 },
    usual: { prompt: 0, late: 0, lost: 0 },
  };

  add(window: Window, ms: number, interval: number): void {
    this.#counts[window][gradeOf(ms, interval)]++;
  }

  *[Symbol.iterator](): Iterator<readonly [labels: readonly [Window, Grade], count: number]> {
    for (const window of ['newest', 'usual'] as const)
      for (const grade of ['prompt', 'late', 'lost'] as const) yield [[window, grade], this.#counts[window][grade]];
  }
}
