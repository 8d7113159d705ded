/** Tries of a first connection that come quickly, and the time between them, ms. */
const quickTries = 3;
const quickPause = 500;
const base = 100;
const cap = 30_000;

/**
 * ms until the next attempt, after `failures` (≥ 1) in a row. A first connection is tried three times 500 ms apart; from
 * then on, and after every loss, it is drawn from [0, 100 ms doubled with each failure, 30 s at most], so that clients that
 * were lost together do not come back together. What the server asked for (`Retry-After`, `retry:`, a drain notice) wins.
 */
export function nextAttemptIn(
  failures: number,
  isFirst: boolean,
  asked: number | undefined,
  random: () => number,
): number {
  if (asked !== undefined) return asked;
  if (isFirst && failures < quickTries) return quickPause;
  const doubled = failures - (isFirst ? quickTries : 1);
  return Math.round(random() * Math.min(cap, base * 2 ** Math.min(doubled, 20)));
}
