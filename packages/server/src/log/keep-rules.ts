import { matchFilter } from '@tailrace/protocol';

/** What is kept of the topics that `filter` matches, one of both. */
export interface KeepRule {
  readonly filter: string;
  /** The newest so many records. */
  readonly last?: number | undefined;
  /** The newest record of each key, and every record without one: such a topic is a table. */
  readonly lastPerKey?: true | undefined;
}

/** The first rule for the topic, which decides. */
export function ruleFor(rules: readonly KeepRule[], topic: string): KeepRule | undefined {
  return rules.find(({ filter }) => matchFilter(filter, topic));
}
