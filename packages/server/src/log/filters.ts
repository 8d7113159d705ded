import { matchFilter } from '@tailrace/protocol';

/** Whether every topic that `filter` matches is matched by `rule` too. */
export function covers(rule: string, filter: string): boolean {
  if (filter.endsWith('#') && !rule.endsWith('#')) return false;
  // `a/#` reads `a` too
  if (filter.endsWith('/#') && !matchFilter(rule, filter.slice(0, -2))) return false;
  return matchFilter(rule, filter);
}

/** Whether a topic may match both. */
export function overlap(one: string, other: string): boolean {
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
