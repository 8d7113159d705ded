import type { FilterSet } from '@tailrace/protocol';
import type { Log, Place, Position } from '../log/index.ts';
import type { NewestList } from './newest.ts';

/** Where one begins anew who may hold what was deleted. */
export interface Anew {
  readonly at: Place;
  /** What is current of all up to the last of the deletions; undefined when that is nothing. What follows them follows it. */
  readonly snapshot: NewestList | undefined;
}

/** `deletion`: offset of the last deletion that is dropped. Where there are no tables reading merely goes on behind it. */
export async function beginAnew(
  log: Log,
  filters: FilterSet,
  deletion: number,
  newest: (asOf: Position) => NewestList | Promise<NewestList>,
): Promise<Anew> {
  const to = await log.positionOf(deletion);
  if (!log.tables.mayMatch(filters)) return { at: to, snapshot: undefined };
  const list = await newest(to);
  const first = list.offsets[0];
  if (first === undefined) return { at: to, snapshot: undefined };
  return { at: await log.positionOf(first - 1), snapshot: list };
}
