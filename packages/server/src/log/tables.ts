import type { FilterSet } from '@tailrace/protocol';
import { overlap } from './filters.ts';
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
