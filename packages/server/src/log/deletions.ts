import { type FilterSet, TailraceError } from '@tailrace/protocol';
import { type Dropped, nothingDropped } from './log.ts';

/** The records of a topic up to an offset are deleted for good. */
export interface Deletion {
  readonly topic: string;
  /** Offset of the newest record that is deleted. */
  readonly upTo: number;
  /** The topic is a table: whoever has read it holds keys that are gone. */
  readonly table: boolean;
}

/** Each costs every reader that comes from below it a little. */
const most = 10_000;

const none: ReadonlyMap<string, Deletion> = new Map();

/**
 * Deletions of topics that readers have to heed: until the records are gone from wherever the log reads, and what marks say
 * of them is all there is to say.
 */
export class Deletions {
  /** Counts them: what was kept of an earlier read may hold what is deleted since. */
  version = 0;
  /** The highest offset that one of them deletes; 0 while there is none. */
  newest = 0;
  #byTopic: ReadonlyMap<string, Deletion> = none;
  #listener: (deletion: Deletion) => void = () => {};

  /** It never changes: who holds it has the deletions of one moment. */
  get byTopic(): ReadonlyMap<string, Deletion> {
    return this.#byTopic;
  }

  /** Calls `listener` with what is deleted from now. */
  listen(listener: (deletion: Deletion) => void): void {
    this.#listener = listener;
  }

  /** Throws `overloaded`. */
  checkRoom(): void {
    if (this.#byTopic.size >= most)
      throw new TailraceError('overloaded', `${most} deleted topics are on their way out already`, {
        retryAfter: 1000,
      });
  }

  add(deletion: Deletion): void {
    this.#byTopic = new Map(this.#byTopic).set(deletion.topic, deletion);
    this.newest = Math.max(this.newest, deletion.upTo);
    this.version++;
    this.#listener(deletion);
  }

  /** Forgets those for which `is` holds. */
  forget(is: (deletion: Deletion) => boolean): void {
    if (this.#byTopic.size === 0) return;
    const left = [...this.#byTopic].filter(([, deletion]) => !is(deletion));
    if (left.length === this.#byTopic.size) return;
    this.#byTopic = new Map(left);
    this.newest = 0;
    for (const [, { upTo }] of left) this.newest = Math.max(this.newest, upTo);
  }

  /** What they deleted beyond `after` of what matches. */
  droppedAfter(after: number, filters: FilterSet): Dropped {
    return this.newest <= after ? nothingDropped : deletedAfter(this.#byTopic, after, filters);
  }
}

export function deletedAfter(deletions: ReadonlyMap<string, Deletion>, after: number, filters: FilterSet): Dropped {
  let records = 0;
  let ofTables = 0;
  for (const { topic, upTo, table } of deletions.values()) {
    if (upTo <= after || !filters.matches(topic)) continue;
    records = Math.max(records, upTo);
    if (table) ofTables = Math.max(ofTables, upTo);
  }
  return records === 0 ? nothingDropped : { records, deletions: ofTables };
}
