import type { EndedTopics } from '../../log/ended-topics.ts';
import { packedEndsTopic, packedTopic } from '../packed-record.ts';
import type { Directory } from './directory.ts';
import type { Reads } from './reads.ts';

export interface HistoryParts {
  readonly reads: Reads;
  readonly directory: Directory;
  readonly ended: EndedTopics;
}

/**
 * Learns, from the newest to the oldest record and beside everything else, what a start does not wait for: which topics
 * there are, and which ended long ago.
 */
export class History {
  readonly #parts: HistoryParts;
  #run = 0;

  constructor(parts: HistoryParts) {
    this.#parts = parts;
  }

  start(): void {
    void this.#learn(++this.#run);
  }

  stop(): void {
    this.#run++;
  }

  async #learn(run: number): Promise<void> {
    const { reads, directory, ended } = this.#parts;
    const ends: [topic: string, offset: number][] = [];
    try {
      for await (const { from, records } of reads.backwards(directory.since)) {
        if (run !== this.#run) return;
        for (const record of records.toReversed()) {
          const topic = packedTopic(record);
          if (!directory.isFull) directory.takeOlder(topic, record);
          if (packedEndsTopic(record)) ends.push([topic, record.offset]);
        }
        if (!directory.isFull) directory.since = from;
      }
    } catch {
      // what reads of the same records will say to whoever asks for them
    }
    if (run === this.#run && ends.length > 0) ended.addOlder(ends.reverse());
  }
}
