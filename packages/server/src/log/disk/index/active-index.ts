import type { FilterSet } from '@tailrace/protocol';
import { doubled } from '../../batch-topics.ts';
import { type TopicHash, topicHash } from '../../topic-hash.ts';
import { type IndexedTopic, type PostingList, type SegmentIndex, SparseIndex, TopicSet } from './segment-index.ts';
import { TopicNames } from './topic-names.ts';

/** A topic of the active segment, as it is when it is looked at. */
export class ActiveTopic implements IndexedTopic {
  readonly topic: string;
  readonly number: number;
  readonly #index: ActiveIndex;

  constructor(index: ActiveIndex, topic: string, number: number) {
    this.#index = index;
    this.topic = topic;
    this.number = number;
  }

  get count(): number {
    return this.#index.countOf(this.number);
  }

  get lastOffset(): number {
    return this.#index.lastOffsetOf(this.number);
  }

  get lastTime(): number {
    return this.#index.lastTimeOf(this.number);
  }

  get lastPosition(): number {
    return this.#index.lastPositionOf(this.number);
  }

  /** Of its records, ascending. */
  get positions(): Uint32Array {
    return this.#index.positionsOf(this.number);
  }
}

/** Filters whose bitset is kept, for readers that come again; topics whose positions are. */
const keptFilters = 16;
const keptPositions = 16;

/**
 * The index of a segment that has none on disk yet: of the active one, and of one that is being sealed. A segment may have
 * hundreds of thousands of topics: what is known of them is in columns by number, which the garbage collector need not walk.
 *
 *    topic number   0  1  2  3  …      record   0  1  2  3  4  …     in order of position
 *    names          a  b  c  d         position
 *    newest         3  4  2  –  ──────▶ before  –  –  –  0  1        the record before it of the same topic
 *
 * A topic may be there before its first record is committed: then it has no records.
 */
export class ActiveIndex implements SegmentIndex {
  readonly sparse: SparseIndex = new SparseIndex();
  /** Topics that a record here ended, with its offset. */
  readonly ended: (readonly [topic: string, offset: number])[] = [];
  readonly #framesAt: number;
  readonly names: TopicNames;
  readonly #matched = new Map<string, { set: TopicSet; upTo: number }>();
  readonly #kept = new Map<number, Uint32Array>();
  #topics = new TopicColumns(32);
  #positions: Int32Array<ArrayBuffer> = new Int32Array(64);
  #before: Int32Array<ArrayBuffer> = new Int32Array(64);
  #records = 0;
  #batches = 0;
  #sorted: ActiveTopic[] = [];

  constructor(framesAt: number, hash: TopicHash = topicHash) {
    this.#framesAt = framesAt;
    this.names = new TopicNames(hash);
  }

  /** What names are looked up by here. */
  get hash(): TopicHash {
    return this.names.hash;
  }

  get topicCount(): number {
    return this.names.count;
  }

  /** Makes room for so many at once, as the segment before had: nothing has to be moved as they come. */
  reserve(topics: number, records: number): void {
    this.#makeRoom(topics);
    this.names.reserve(topics);
    if (records <= this.#positions.length) return;
    this.#positions = withRoom(this.#positions, records);
    this.#before = withRoom(this.#before, records);
  }

  /** Records in it. */
  get recordCount(): number {
    return this.#records;
  }

  /** The topics with records, by number. */
  *all(): Generator<ActiveTopic> {
    for (let number = 0; number < this.names.count; number++)
      if (this.countOf(number) > 0) yield new ActiveTopic(this, this.names.nameOf(number), number);
  }

  /** A batch begins; returns what tells it from the others of this segment. */
  nextBatch(): number {
    return ++this.#batches;
  }

  /** Number of the topic whose name is these bytes: a new one if it has none. Hot. */
  numberFor(bytes: DataView, start: number, end: number, hash: number): number {
    const number = this.names.find(bytes, start, end, hash);
    if (number !== -1) return number;
    this.#makeRoom(this.names.count + 1);
    return this.names.add(bytes, start, end, hash);
  }

  /** Number of the topic, −1 when it has none. */
  numberOf(topic: string): number {
    return this.names.numberOf(topic);
  }

  /** The number that the topic has in a batch; `next` if it is not in it yet, which it is then. Hot. */
  numberInBatch(number: number, batch: number, next: number): number {
    const { batches, numbersInBatch } = this.#topics;
    if (batches[number] === batch) return numbersInBatch[number]!;
    batches[number] = batch;
    numbersInBatch[number] = next;
    return next;
  }

  /** Whether a record of a topic with this number was taken. */
  has(number: number): boolean {
    return number < this.names.count && this.countOf(number) > 0;
  }

  /** Takes a topic whose number the file says. Damaged numbers never come here: the frame was checked. */
  topicAs(bytes: DataView, start: number, end: number, number: number): void {
    const names = this.names;
    const hash = names.hash.ofBytes(bytes, start, end);
    if (names.find(bytes, start, end, hash) !== -1) return;
    // numbers between belong to topics whose first record was never committed
    if (number >= names.count) {
      this.#makeRoom(number + 1);
      names.skipTo(number + 1);
    }
    names.set(number, bytes, start, end, hash);
  }

  /** Takes a committed record. Hot. */
  add(number: number, position: number, offset: number, time: number): void {
    const record = this.#records++;
    if (record === this.#positions.length) {
      this.#positions = doubled(this.#positions);
      this.#before = doubled(this.#before);
    }
    const { counts, newest, lastOffsets, lastTimes } = this.#topics;
    this.#positions[record] = position;
    this.#before[record] = newest[number]!;
    newest[number] = record;
    counts[number]!++;
    lastOffsets[number] = offset;
    lastTimes[number] = time;
  }

  countOf(number: number): number {
    return this.#topics.counts[number]!;
  }

  lastOffsetOf(number: number): number {
    return this.#topics.lastOffsets[number]!;
  }

  lastPositionOf(number: number): number {
    return this.#positions[this.#topics.newest[number]!]!;
  }

  lastTimeOf(number: number): number {
    return this.#topics.lastTimes[number]!;
  }

  /** Positions of its records, ascending; `known` are the first of them. */
  positionsOf(number: number, known: Uint32Array = noPositions): Uint32Array {
    const positions = new Uint32Array(this.countOf(number));
    positions.set(known);
    this.copyPositions(number, positions, known.length);
    return positions;
  }

  /** Puts the positions of its records there, all but the first `known` of them. */
  copyPositions(number: number, to: Uint32Array, known = 0): void {
    let record = this.#topics.newest[number]!;
    for (let i = this.countOf(number) - 1; i >= known; i--) {
      to[i] = this.#positions[record]!;
      record = this.#before[record]!;
    }
  }

  mayHold(topic: string): boolean {
    const number = this.numberOf(topic);
    return number !== -1 && this.countOf(number) > 0;
  }

  postings(topic: string): Promise<PostingList | undefined> {
    const number = this.numberOf(topic);
    if (number === -1 || this.countOf(number) === 0) return Promise.resolve(undefined);
    let positions = this.#kept.get(number);
    this.#kept.delete(number);
    if (positions?.length !== this.countOf(number)) positions = this.positionsOf(number, positions);
    this.#kept.set(number, positions);
    if (this.#kept.size > keptPositions) dropOldest(this.#kept);
    return Promise.resolve(positions);
  }

  matching(filters: FilterSet): Promise<TopicSet> {
    let matched = this.#matched.get(filters.key);
    if (matched === undefined) {
      matched = { set: new TopicSet(this.names.count), upTo: 0 };
    } else this.#matched.delete(filters.key);
    this.#matched.set(filters.key, matched);
    if (this.#matched.size > keptFilters) dropOldest(this.#matched);
    for (; matched.upTo < this.names.count; matched.upTo++)
      if (filters.matches(this.names.nameOf(matched.upTo))) matched.set.add(matched.upTo);
    return Promise.resolve(matched.set);
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly IndexedTopic[]> {
    const exact = limit === 1 && after < prefix ? this.numberOf(prefix) : -1;
    // first of all that begin so; to sort all for one would take a third of a second
    if (exact !== -1 && this.countOf(exact) > 0) return Promise.resolve([new ActiveTopic(this, prefix, exact)]);
    if (this.#sorted.length !== this.names.count) {
      this.#sorted = [];
      for (let number = 0; number < this.names.count; number++)
        this.#sorted.push(new ActiveTopic(this, this.names.nameOf(number), number));
      this.#sorted.sort((a, b) => (a.topic < b.topic ? -1 : 1));
    }
    const found: IndexedTopic[] = [];
    for (let i = firstAfter(this.#sorted, prefix, after); i < this.#sorted.length && found.length < limit; i++) {
      const topic = this.#sorted[i]!;
      if (!topic.topic.startsWith(prefix)) break;
      if (topic.count > 0) found.push(topic);
    }
    return Promise.resolve(found);
  }

  frameAt(offset: number): Promise<number> {
    return Promise.resolve(this.sparse.frameAt(offset, this.#framesAt));
  }

  frameSince(time: number): Promise<number> {
    return Promise.resolve(this.sparse.frameSince(time, this.#framesAt));
  }

  #makeRoom(topics: number): void {
    let { capacity } = this.#topics;
    while (capacity < topics) capacity *= 2;
    if (capacity > this.#topics.capacity) this.#topics = this.#topics.enlarged(capacity);
  }
}

const noPositions = new Uint32Array(0);

/** What is known of each topic, by its number. */
class TopicColumns {
  readonly capacity: number;
  readonly counts: Uint32Array;
  /** The newest record, as its index in the segment. */
  readonly newest: Int32Array;
  readonly lastOffsets: Float64Array;
  readonly lastTimes: Float64Array;
  /** The batch that last took a record of it, and the topic's number in that. */
  readonly batches: Int32Array;
  readonly numbersInBatch: Int32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.counts = new Uint32Array(capacity);
    this.newest = new Int32Array(capacity);
    this.lastOffsets = new Float64Array(capacity);
    this.lastTimes = new Float64Array(capacity);
    this.batches = new Int32Array(capacity);
    this.numbersInBatch = new Int32Array(capacity);
  }

  enlarged(capacity: number): TopicColumns {
    const larger = new TopicColumns(capacity);
    larger.counts.set(this.counts);
    larger.newest.set(this.newest);
    larger.lastOffsets.set(this.lastOffsets);
    larger.lastTimes.set(this.lastTimes);
    larger.batches.set(this.batches);
    larger.numbersInBatch.set(this.numbersInBatch);
    return larger;
  }
}

function withRoom(array: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}

function dropOldest(kept: Map<unknown, unknown>): void {
  for (const oldest of kept.keys()) {
    kept.delete(oldest);
    return;
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
