import { matchFilter } from '@tailrace/protocol';

/** What becomes of a subscriber that fell behind its cohort: read on, newest of each topic, or cut. */
export type LagPolicy = 'replay' | 'last' | 'disconnect';

export interface LagRule {
  readonly filter: string;
  readonly policy: LagPolicy;
  /** How long it may be behind before the policy applies, ms. */
  readonly after: number;
}

/** Whether every topic that `filter` matches is matched by `rule` too. */
export function covers(rule: string, filter: string): boolean {
  if (filter.endsWith('#') && !rule.endsWith('#')) return false;
  // `a/#` reads `a` too
  if (filter.endsWith('/#') && !matchFilter(rule, filter.slice(0, -2))) return false;
  return matchFilter(rule, filter);
}
