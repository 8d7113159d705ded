import type { FilterSet } from '@tailrace/protocol';
import { type KeepRule, ruleFor } from './keep-rules.ts';

/** Topics that are tables: what counts is the newest record of each of their keys. */
export interface Tables {
  has(topic: string): boolean;
  /** False when no topic that these filters match can be a table. */
  mayMatch(filters: FilterSet): boolean;
}

/** The topics whose rule keeps the last of each key. */
export function tablesOf(rules: readonly KeepRule[]): Tables {
  const filters = rules.filter(({ lastPerKey }) => lastPerKey === true).map(({ filter }) => filter);
  return {
    has: topic => filters.length > 0 && ruleFor(rules, topic)?.lastPerKey === true,
    mayMatch: asked => filters.some(filter => asked.filters.some(other => overlap(filter, other))),
  };
}

/** Whether a topic may match both. */
function overlap(one: string, other: string): boolean {
  const a = one.split('/');
  const b = other.split('/');
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === '#' || b[i] === '#') return true;
    // `a/#` matches `a` too
    if (a[i] === undefined) return b[i] === '#';
    if (b[i] === undefined) return a[i] === '#';
    if (a[i] !== b[i] && a[i] !== '+' && b[i] !== '+') return false;
  }
  return true;
}
