import type { Envelope } from '@tailrace/protocol';

/** The newest record that was had of a topic. */
export interface Newest {
  readonly offset: number;
  readonly time: number;
}

/** Topics of which it is known for certain how far they came. */
const topicsMost = 2000;

/**
 * How far each topic has come, so that a record that is sent again (a cursor may repeat, and never skips) is given once.
 * Offsets of a topic rise until its log loses records; what then has an offset for the second time is younger. Of very many
 * topics the newest are known.
 */
export class Seen {
  #recent: Map<string, Newest>;
  #older: ReadonlyMap<string, Newest> = new Map();

  constructor(known: ReadonlyMap<string, Newest> = new Map()) {
    this.#recent = new Map(known);
  }

  isNew({ topic, offset, time }: Envelope): boolean {
    // class `none` is in no log
    if (offset === undefined) return true;
    const seen = this.#recent.get(topic) ?? this.#older.get(topic);
    if (seen !== undefined && offset <= seen.offset && time <= seen.time) return false;
    this.#recent.set(topic, { offset, time });
    if (this.#recent.size > topicsMost) {
      this.#older = this.#recent;
      this.#recent = new Map();
    }
    return true;
  }

  clear(): void {
    this.#recent.clear();
    this.#older = new Map();
  }
}
