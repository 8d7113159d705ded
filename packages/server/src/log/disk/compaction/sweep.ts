import type { Clock } from '../../clock.ts';
import { ruleFor } from '../../keep-rules.ts';
import { type KeepOptions, logDefaults } from '../../options.ts';
import type { SweepHost, Swept } from '../housework/sweep-job.ts';
import { ActiveIndex } from '../index/active-index.ts';
import { type Pause, pauses } from '../index/index-writer.ts';
import { IndexDamaged, type IndexReading } from '../index/sealed-index.ts';
import { type IndexedTopic, type SegmentIndex, TopicSet } from '../index/segment-index.ts';
import { ChunkMemory } from '../segment/chunk-memory.ts';
import { LogDamaged } from '../segment/damage.ts';
import { frameHeaderBytes } from '../segment/frame.ts';
import { chunkBytes, FrameReader } from '../segment/frame-reader.ts';
import {
  keyLength,
  recordHeaderBytes,
  recordIsDeletion,
  recordKeyAt,
  recordLength,
  recordOffset,
  recordTime,
  recordTopicBytes,
  recordTopicNumber,
} from '../segment/record-codec.ts';
import type { Segment } from '../segment/segment.ts';
import { Doomed } from './doomed.ts';
import { NewestTable } from './newest-table.ts';

export interface SweepParts {
  readonly clock: Clock;
  readonly reading: IndexReading;
  readonly secret: Uint8Array;
  readonly options: KeepOptions;
  /** Memory for what is known of newer records, bytes. */
  readonly tableBytes: number;
  /** Throws when the log is being closed. */
  readonly checkStopped: () => void;
  readonly host: SweepHost;
  /** Rejects with IndexDamaged. */
  readonly openIndex: (segment: Segment) => Promise<SegmentIndex>;
  /** Rewrites it unless too little of it would go; returns what stands in its place. */
  readonly rewrite: (segment: Segment, doomed: Doomed) => Promise<Segment>;
}

/** Where a segment's topics come under rules. */
interface Ruled {
  /** Of topics that keep their last N: how many of the segment's records go, the oldest first, by topic number. */
  readonly surplus: Map<number, number>;
  /** Topics that keep the last of each key. */
  readonly keyed: TopicSet;
}

/** Called with the place of a record and its ordinal in the segment. */
type Visit = (buffer: Buffer, at: number, ordinal: number) => void;

/** Topics of a directory that are looked at between two turns. */
const page = 1000;

/**
 * Looks once through all segments, from the newest back, and knows of each record whether enough newer ones are there:
 * a segment is judged when its own records and all newer ones are in the table.
 *
 * A deletion goes when it is old enough and nothing older of its key is left anywhere, since without it that would come
 * back: so only after a whole round, and only when everything had room in the table.
 */
export class Sweep {
  readonly #parts: SweepParts;
  readonly #pause: Pause;
  readonly #table: NewestTable;
  readonly #segments: readonly Segment[];
  readonly #memory = new ChunkMemory();
  /** Deletions before this may go, ms. */
  readonly #deletionsBefore: number;
  /** Segments with deletions that are old enough. */
  readonly #graves: Segment[] = [];
  /** Records that rules let go of and de-duplication needs. */
  #keptForDedupe = 0;
  #waitingDeletions = 0;
  /** A segment could not be looked through. */
  #incomplete = false;

  constructor(parts: SweepParts, segments: readonly Segment[]) {
    this.#parts = parts;
    this.#segments = segments;
    this.#pause = pauses(parts.clock);
    let records = 0;
    for (const segment of segments) records += segment.records;
    this.#table = new NewestTable(records, parts.tableBytes, parts.secret);
    this.#deletionsBefore = parts.clock.now() - (parts.options.tombstoneAgeMs ?? logDefaults.keep.tombstoneAgeMs);
  }

  async run(): Promise<Swept> {
    await this.#judgeAll();
    return { keptForDedupe: this.#keptForDedupe, waitingDeletions: this.#waitingDeletions };
  }

  async #judgeAll(): Promise<void> {
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const segment = this.#segments[i]!;
      await this.#try(segment, () => this.#judge(segment));
    }
    if (this.#incomplete || this.#table.full) return;
    for (const segment of this.#graves) await this.#try(segment, () => this.#bury(segment));
  }

  /** One segment that cannot be read is no reason to leave the others as they are. */
  async #try(segment: Segment, work: () => Promise<void>): Promise<void> {
    this.#parts.checkStopped();
    try {
      await work();
    } catch (error) {
      if (!(await this.#parts.host.isThere(segment.name))) return;
      if (!(error instanceof LogDamaged) && !(error instanceof IndexDamaged)) throw error;
      this.#incomplete = true;
      await this.#parts.host.unreadable({ segment: segment.name, why: String(error) });
    }
  }

  async #judge(segment: Segment): Promise<void> {
    const ruled = await this.#ruled(segment);
    if (ruled.keyed.size > 0) await this.#learn(segment, ruled.keyed);
    if (ruled.keyed.size === 0 && ruled.surplus.size === 0) return;
    const doomed = await this.#doomedOf(segment);
    if (doomed === undefined) return;
    const { surplus, keyed } = ruled;
    let grave = false;
    await this.#visit(segment, (buffer, at, ordinal) => {
      const number = recordTopicNumber(buffer, at);
      const left = surplus.get(number);
      if (left !== undefined && left > 0) {
        surplus.set(number, left - 1);
        doomed.add(ordinal, buffer, at, false);
      } else if (keyed.has(number)) {
        const slot = this.#keySlot(buffer, at);
        if (slot < 0) return;
        if (this.#table.values[slot]! > recordOffset(buffer, at, segment.firstOffset))
          doomed.add(ordinal, buffer, at, false);
        else if (this.#isOldDeletion(buffer, at)) grave = true;
      }
    });
    const now = await this.#drop(segment, doomed);
    if (grave) this.#graves.push(now);
  }

  /** Drops the deletions behind which nothing is left. */
  async #bury(segment: Segment): Promise<void> {
    const { keyed } = await this.#ruled(segment, false);
    const doomed = await this.#doomedOf(segment);
    if (doomed === undefined) return;
    await this.#visit(segment, (buffer, at, ordinal) => {
      if (!keyed.has(recordTopicNumber(buffer, at)) || !this.#isOldDeletion(buffer, at)) return;
      const slot = this.#keySlot(buffer, at);
      if (slot < 0 || this.#table.values[slot] !== recordOffset(buffer, at, segment.firstOffset)) return;
      if (this.#table.older[slot] === 1) this.#waitingDeletions++;
      else doomed.add(ordinal, buffer, at, true);
    });
    await this.#drop(segment, doomed);
  }

  /** Undefined when the segment has to stay as it is. */
  async #doomedOf(segment: Segment): Promise<Doomed | undefined> {
    const may = await this.#parts.host.mayDrop(segment.name);
    return may === 'nothing' ? undefined : new Doomed(segment.firstOffset, segment.records, may === 'unremembered');
  }

  async #drop(segment: Segment, doomed: Doomed): Promise<Segment> {
    this.#keptForDedupe += doomed.spared;
    return doomed.count === 0 ? segment : this.#parts.rewrite(segment, doomed);
  }

  /** What the rules say of the segment's topics; `counts`: takes the records of those that keep their last N. */
  async #ruled(segment: Segment, counts = true): Promise<Ruled> {
    const surplus = new Map<number, number>();
    const keyed = new TopicSet(0);
    for await (const topics of topicPages(await this.#parts.openIndex(segment))) {
      for (const { topic, number, count } of topics) {
        const waiting = this.#pause();
        if (waiting !== undefined) await waiting;
        if (count === 0) continue;
        const rule = ruleFor(this.#parts.options.rules, topic);
        if (rule?.lastPerKey === true) keyed.add(number);
        if (rule?.last === undefined || !counts) continue;
        const slot = this.#table.topic(topic);
        const newer = slot < 0 ? 0 : this.#table.values[slot]!;
        if (slot >= 0) this.#table.values[slot] = newer + count;
        if (newer + count > rule.last) surplus.set(number, Math.min(count, newer + count - rule.last));
      }
    }
    return { surplus, keyed };
  }

  /** Enters the keys of a segment into the table. */
  async #learn(segment: Segment, keyed: TopicSet): Promise<void> {
    const { values, older } = this.#table;
    await this.#visit(segment, (buffer, at) => {
      if (!keyed.has(recordTopicNumber(buffer, at))) return;
      const slot = this.#keySlot(buffer, at);
      if (slot < 0) return;
      if (!this.#table.isNew(slot)) older[slot] = 1;
      values[slot] = Math.max(values[slot]!, recordOffset(buffer, at, segment.firstOffset));
    });
  }

  /** −1 when the record has no key, or the table no room for it. */
  #keySlot(buffer: Buffer, at: number): number {
    const keyAt = recordKeyAt(buffer, at);
    if (keyAt === 0) return -1;
    return this.#table.key(
      buffer,
      at + recordHeaderBytes,
      recordTopicBytes(buffer, at),
      keyAt,
      keyLength(buffer, keyAt),
    );
  }

  #isOldDeletion(buffer: Buffer, at: number): boolean {
    return recordIsDeletion(buffer, at) && recordTime(buffer, at) < this.#deletionsBefore;
  }

  async #visit(segment: Segment, visit: Visit): Promise<void> {
    const frames = new FrameReader(
      segment,
      this.#parts.reading.gate,
      segment.header.framesAt,
      chunkBytes,
      this.#memory,
    );
    let ordinal = 0;
    let { buffer } = frames;
    while (await frames.next()) {
      this.#parts.checkStopped();
      if (frames.buffer !== buffer) this.#memory.give(buffer);
      buffer = frames.buffer;
      let at = frames.at + frameHeaderBytes;
      for (let i = 0; i < frames.header.count; i++) {
        visit(frames.buffer, at, ordinal++);
        at += recordLength(frames.buffer, at);
        // a record costs some microseconds: the clock is read after each 8
        const waiting = this.#pause(8);
        if (waiting !== undefined) await waiting;
      }
    }
  }
}

/** The topics of a segment in stretches, in no order: that of an index in memory would have to be sorted at once. */
async function* topicPages(index: SegmentIndex): AsyncGenerator<readonly IndexedTopic[]> {
  if (index instanceof ActiveIndex) {
    yield [...index.all()];
    return;
  }
  for (let after = ''; ; ) {
    const topics = await index.topics('', after, page);
    yield topics;
    if (topics.length < page) return;
    after = topics[topics.length - 1]!.topic;
  }
}
