import { isWildcard, matchFilter } from './topic.ts';

/** Which topics a subscription reads: one or more valid filters, in canonical order, each once. */
export interface FilterSet {
  /** Sorted and without repetition. */
  readonly filters: readonly string[];
  /** Equal for equal sets of filters; used as a key. */
  readonly key: string;
  /** The topics when no filter has a wildcard, else null. Exact sets can be read by index instead of by scan. */
  readonly exact: ReadonlySet<string> | null;
  /** Whether any filter matches. */
  matches(topic: string): boolean;
}

/** Builds the set; the filters must have passed `checkFilter`. */
export function filterSet(filters: readonly string[]): FilterSet {
  const sorted = [...new Set(filters)].sort();
  const wild = sorted.filter(isWildcard);
  const topics = new Set(sorted.filter(filter => !isWildcard(filter)));
  const only = sorted.length === 1 ? sorted[0] : undefined;
  let matches: (topic: string) => boolean;
  if (wild.length === 0) matches = only === undefined ? topic => topics.has(topic) : topic => topic === only;
  else if (only !== undefined) matches = topic => matchFilter(only, topic);
  else {
    matches = topic => {
      if (topics.has(topic)) return true;
      for (const filter of wild) if (matchFilter(filter, topic)) return true;
      return false;
    };
  }
  return { filters: sorted, key: sorted.join('\n'), exact: wild.length === 0 ? topics : null, matches };
}
