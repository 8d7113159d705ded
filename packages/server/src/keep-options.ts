import type { Config } from './config/index.ts';
import type { KeepOptions } from './log/index.ts';

/** What the settings say of how much is kept of topics. */
export function keepOptions({ rules, tombstone }: Config): KeepOptions {
  return {
    rules: rules.flatMap(({ filter, keep }) => (keep === undefined ? [] : [{ filter, ...keep }])),
    tombstoneAgeMs: tombstone.age,
  };
}
