import { matchFilter } from '@tailrace/protocol';
import type { KeepOptions } from '../../options.ts';

export type KeepRule = KeepOptions['rules'][number];

/** The first rule for the topic, which decides. */
export function ruleFor(rules: readonly KeepRule[], topic: string): KeepRule | undefined {
  return rules.find(rule => matchFilter(rule.filter, topic));
}
