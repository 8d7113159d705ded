import type { Directory } from '../broker/directory.ts';
import type { Known } from '../broker/known.ts';
import type { PageSource } from '../broker/pages.ts';
import { packedTopic } from '../packed-record.ts';

export interface TopicListParts {
  readonly pages: PageSource;
  readonly known: Known;
  readonly directory: Directory;
}

const pageBytes = 1024 * 1024;
/** More topics than this are not remembered: they are looked for each time. */
const topicsMost = 200_000;

/**
 * Learns which topics there are, and the newest record of each, when that is asked for the first time: then the partition
 * is read once, for all who ask. A start reads nothing.
 */
export class TopicList {
  readonly #parts: TopicListParts;
  #learning: Promise<void> | undefined;
  #run = 0;

  constructor(parts: TopicListParts) {
    this.#parts = parts;
  }

  /** Resolves when the directory has all topics, or never will. */
  learn(): Promise<void> {
    const { directory, known } = this.#parts;
    if (directory.since <= known.floor) return Promise.resolve();
    this.#learning ??= this.#learn(this.#run).catch(error => {
      this.#learning = undefined;
      throw error;
    });
    return this.#learning;
  }

  /** The partition is another. */
  forget(): void {
    this.#run++;
    this.#learning = undefined;
  }

  async #learn(run: number): Promise<void> {
    const { pages, known, directory } = this.#parts;
    const end = directory.since;
    const newest = new Map<string, { readonly offset: number; readonly time: number }>();
    for (let at = known.floor; at < end; ) {
      const page = await pages.read(at, end, pageBytes);
      if (run !== this.#run) return;
      for (const record of page.records) {
        const { offset, time } = record;
        newest.set(packedTopic(record), { offset, time });
      }
      if (newest.size > topicsMost) return;
      at = Math.max(page.next, at + 1);
    }
    for (const [topic, record] of newest) directory.takeOlder(topic, record);
    // others may have been forgotten meanwhile, for want of room
    if (directory.since === end) directory.since = known.floor;
  }
}
