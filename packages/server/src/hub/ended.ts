import type { FilterSet } from '@tailrace/protocol';
import type { Log } from '../log/index.ts';

/** Whether all that these filters name are exact topics that ended at or before `offset`: nothing can follow it. */
export function haveEnded(log: Log, { exact }: FilterSet, offset: number): boolean {
  if (exact === null) return false;
  for (const topic of exact) {
    const end = log.endedAt(topic);
    if (end === 0 || !log.places.hasPassed(offset, topic, end)) return false;
  }
  return true;
}
