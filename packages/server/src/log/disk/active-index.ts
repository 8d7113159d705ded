import type { FilterSet } from '@tailrace/protocol';
import { type IndexedTopic, type PostingList, type SegmentIndex, SparseIndex, TopicSet } from './segment-index.ts';

/** A topic of the active segment. It may be there before its first record is committed: then it has no positions. */
export class ActiveTopic {
  readonly topic: string;
  readonly number: number;
  positions: number[] | undefined;
  lastOffset = 0;
  lastTime = 0;
  /** The batch that last took a record of it, by its serial number, and the topic's number in that. */
  batch = 0;
  numberInBatch = 0;

  constructor(topic: string, number: number) {
    this.topic = topic;
    this.number = number;
  }

  get count(): number {
    return this.positions?.length ?? 0;
  }
}

/** Filters whose bitset is kept, for readers that come again. */
const keptFilters = 16;

/** The index of a segment that has none on disk yet: of the active one, and of one that is being sealed. */
export class ActiveIndex implements SegmentIndex {
  readonly sparse: SparseIndex = new SparseIndex();
  /** Topics that a record here ended, with its offset. */
  readonly ended: (readonly [topic: string, offset: number])[] = [];
  readonly #framesAt: number;
  readonly #byName = new Map<string, ActiveTopic>();
  readonly #byNumber: ActiveTopic[] = [];
  readonly #matched = new Map<string, { set: TopicSet; upTo: number }>();
  #sorted: ActiveTopic[] = [];

  constructor(framesAt: number) {
    this.#framesAt = framesAt;
  }

  get topicCount(): number {
    return this.#byNumber.length;
  }

  /** All topics by number, those without records among them. */
  get all(): readonly ActiveTopic[] {
    return this.#byNumber;
  }

  /** The topic's entry, made when it is new. Hot. */
  topic(name: string): ActiveTopic {
    let topic = this.#byName.get(name);
    if (topic === undefined) {
      topic = new ActiveTopic(name, this.#byNumber.length);
      this.#byName.set(name, topic);
      this.#byNumber.push(topic);
    }
    return topic;
  }

  /** The entry of a topic whose number the file says. Damaged numbers never come here: the frame was checked. */
  topicAs(name: string, number: number): ActiveTopic {
    let topic = this.#byName.get(name);
    if (topic === undefined) {
      topic = new ActiveTopic(name, number);
      this.#byName.set(name, topic);
      // numbers between belong to topics whose first record was never committed
      while (this.#byNumber.length < number) this.#byNumber.push(new ActiveTopic('', this.#byNumber.length));
      this.#byNumber[number] = topic;
    }
    return topic;
  }

  /** The topic of this number, if a record of it was taken. */
  taken(number: number): ActiveTopic | undefined {
    const topic = this.#byNumber[number];
    return topic?.positions === undefined ? undefined : topic;
  }

  /** Takes a committed record. Hot. */
  add(topic: ActiveTopic, position: number, offset: number, time: number): void {
    // a literal has room for one position, an emptied array for 17: most topics of a wide log have one record
    if (topic.positions === undefined) topic.positions = [position];
    else topic.positions.push(position);
    topic.lastOffset = offset;
    topic.lastTime = time;
  }

  mayHold(topic: string): boolean {
    return this.#byName.get(topic)?.positions !== undefined;
  }

  postings(topic: string): Promise<PostingList | undefined> {
    return Promise.resolve(this.#byName.get(topic)?.positions);
  }

  matching(filters: FilterSet): Promise<TopicSet> {
    let matched = this.#matched.get(filters.key);
    if (matched === undefined) {
      matched = { set: new TopicSet(this.#byNumber.length), upTo: 0 };
    } else this.#matched.delete(filters.key);
    this.#matched.set(filters.key, matched);
    if (this.#matched.size > keptFilters) {
      for (const oldest of this.#matched.keys()) {
        this.#matched.delete(oldest);
        break;
      }
    }
    for (; matched.upTo < this.#byNumber.length; matched.upTo++)
      if (filters.matches(this.#byNumber[matched.upTo]!.topic)) matched.set.add(matched.upTo);
    return Promise.resolve(matched.set);
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly IndexedTopic[]> {
    if (this.#sorted.length !== this.#byNumber.length) {
      this.#sorted = [...this.#byNumber].sort((a, b) => (a.topic < b.topic ? -1 : 1));
    }
    const found: IndexedTopic[] = [];
    for (let i = firstAfter(this.#sorted, prefix, after); i < this.#sorted.length && found.length < limit; i++) {
      const topic = this.#sorted[i]!;
      if (!topic.topic.startsWith(prefix)) break;
      if (topic.positions !== undefined) found.push(topic);
    }
    return Promise.resolve(found);
  }

  frameAt(offset: number): Promise<number> {
    return Promise.resolve(this.sparse.frameAt(offset, this.#framesAt));
  }

  frameSince(time: number): Promise<number> {
    return Promise.resolve(this.sparse.frameSince(time, this.#framesAt));
  }
}

/** Index of the first entry that is ≥ `prefix` and > `after`. */
function firstAfter(sorted: readonly ActiveTopic[], prefix: string, after: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    const { topic } = sorted[mid]!;
    if (topic < prefix || topic <= after) low = mid + 1;
    else high = mid;
  }
  return low;
}
