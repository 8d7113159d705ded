import { systemClock } from '../../log/clock.ts';
import type { EndedTopics } from '../../log/ended-topics.ts';
import { packedEndsTopic, packedTopic } from '../packed-record.ts';
import type { Directory } from './directory.ts';
import type { Reads } from './reads.ts';

export interface HistoryParts {
  readonly reads: Reads;
  readonly directory: Directory;
  readonly ended: EndedTopics;
}

const pauseAfterError = 1000;

/**
 * Learns, from the newest to the oldest record and beside everything else, what a start does not wait for: which topics
 * there are, and which ended long ago.
 */
export class History {
  readonly #parts: HistoryParts;
  #run = 0;
  #stopPause: () => void = () => {};

  constructor(parts: HistoryParts) {
    this.#parts = parts;
  }

  start(): void {
    void this.#learn(++this.#run);
  }

  stop(): void {
    this.#run++;
    this.#stopPause();
  }

  /** Goes on where it was when the broker was away for a while. */
  async #learn(run: number): Promise<void> {
    const ends: [topic: string, offset: number][] = [];
    const place = { upTo: this.#parts.directory.since };
    while (run === this.#run && !(await this.#learnOn(run, place, ends))) await this.#pause();
    if (run === this.#run && ends.length > 0) this.#parts.ended.addOlder(ends.reverse());
  }

  /** False when something could not be read. */
  async #learnOn(run: number, place: { upTo: number }, ends: [topic: string, offset: number][]): Promise<boolean> {
    const { reads, directory } = this.#parts;
    try {
      for await (const { from, records } of reads.backwards(place.upTo, { passDamage: true })) {
        if (run !== this.#run) return true;
        for (const record of records.toReversed()) {
          const topic = packedTopic(record);
          if (!directory.isFull) directory.takeOlder(topic, record);
          if (packedEndsTopic(record)) ends.push([topic, record.offset]);
        }
        if (!directory.isFull) directory.since = from;
        place.upTo = from;
      }
      return true;
    } catch {
      // what reads of the same records will say to whoever asks for them
      return false;
    }
  }

  #pause(): Promise<void> {
    return new Promise(resolve => {
      const stop = systemClock.after(pauseAfterError, resolve);
      this.#stopPause = () => {
        stop();
        resolve();
      };
    });
  }
}
