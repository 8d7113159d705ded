import type { RecordBatch } from '../../log/record-batch.ts';

interface Newest {
  readonly offset: number;
  readonly time: number;
}

/** Topics remembered; of more, those that are quiet for longest are looked for in the log. */
const topicsMost = 200_000;

/**
 * The newest record of each topic, as far back as this node has looked: every topic with a record above `since` is here, if
 * that is its newest.
 */
export class Directory {
  since: number;
  readonly #most: number;
  #topics = new Map<string, Newest>();

  constructor(since: number, most: number = topicsMost) {
    this.since = since;
    this.#most = most;
  }

  newest(topic: string): Newest | undefined {
    return this.#topics.get(topic);
  }

  entries(): IterableIterator<[string, Newest]> {
    return this.#topics.entries();
  }

  /** There is no room for topics that are quiet for longer. */
  get isFull(): boolean {
    return this.#topics.size >= this.#most;
  }

  /** A batch behind all that is known. Hot: once a topic. */
  take(batch: RecordBatch): void {
    const { topics } = batch;
    for (let t = 0; t < topics.names.length; t++) {
      let last = topics.firstOf(t);
      for (let i = last; i !== -1; i = topics.after(i)) last = i;
      this.#topics.set(topics.names[t]!, { offset: batch.offsetAt(last), time: batch.timeAt(last) });
    }
    if (this.#topics.size > this.#most) this.#forgetQuiet();
  }

  /** A record before all that is known. */
  takeOlder(topic: string, { offset, time }: Newest): void {
    if (!this.#topics.has(topic)) this.#topics.set(topic, { offset, time });
  }

  clear(since: number): void {
    this.since = since;
    this.#topics.clear();
  }

  trim(floor: number): void {
    if (floor <= this.since) return;
    for (const [topic, { offset }] of this.#topics) if (offset <= floor) this.#topics.delete(topic);
  }

  /** A sixteenth at once, so that it costs little per topic. */
  #forgetQuiet(): void {
    const byOffset = [...this.#topics].sort(([, a], [, b]) => a.offset - b.offset);
    const forgotten = Math.max(1, this.#most >>> 4);
    this.since = Math.max(this.since, byOffset[forgotten - 1]![1].offset);
    this.#topics = new Map(byOffset.slice(forgotten));
  }
}
