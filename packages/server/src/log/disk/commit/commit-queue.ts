import type { Clock } from '../../clock.ts';
import type { PendingAppend } from '../../pending-append.ts';
import type { RecordSource } from '../../record.ts';
import { alignToBlock, blockBytes } from '../files/aligned-memory.ts';
import type { OpenFiles } from '../files/open-files.ts';
import { ActiveIndex } from '../index/active-index.ts';
import { frameHeaderBytes } from '../segment/frame.ts';
import { Segment } from '../segment/segment.ts';
import { Batch, frameOverhead } from './batch.ts';
import { BatchSpaces, batchBytes } from './batch-space.ts';

export interface CommitQueueParts {
  readonly files: OpenFiles;
  readonly clock: Clock;
  readonly directory: string;
  readonly segmentBytes: number;
  /** Whether batches of whole blocks are written past the page cache. */
  readonly direct: () => boolean;
}

/**
 * Records that wait for their commit, in batches of one write each.
 *
 *    add ──► collecting ──► queue ──► next
 *            (encodes)     (> 1 MiB)
 *
 * The place of a batch is fixed as it is collected, since records carry their segment's seed: ahead of what is written by
 * what is queued.
 */
export class CommitQueue {
  pendingBytes = 0;
  pendingRecords = 0;
  /** The next record that is added begins a new segment. */
  wantsSegment = false;
  readonly #parts: CommitQueueParts;
  readonly #spaces = new BatchSpaces();
  // where the next batch will go
  #segment: Segment;
  #at: number;
  #collecting: Batch | undefined;
  #queue: Batch[] = [];

  constructor(parts: CommitQueueParts, first: Segment) {
    this.#parts = parts;
    this.#segment = first;
    this.#at = first.header.framesAt;
  }

  get empty(): boolean {
    return this.#collecting === undefined && this.#queue.length === 0;
  }

  /** Encodes a record, of at most `recordBound` bytes, into the newest batch. Hot. */
  add(record: RecordSource, offset: number, time: number, sync: boolean, recordBound: number): void {
    const bound = recordBound + frameOverhead;
    let batch = this.#collecting;
    if (batch !== undefined && batch.length > 0 && batch.length + bound > batchBytes) {
      this.#enqueue(batch);
      batch = undefined;
    }
    const at = batch === undefined ? this.#at : batch.position + batch.length;
    // one empty frame more must fit, for the durable offset at the end; a segment without a record takes any
    const full = at + bound + frameHeaderBytes > this.#parts.segmentBytes;
    if ((full || this.wantsSegment) && offset > this.#segment.firstOffset) {
      if (batch !== undefined) this.#enqueue(batch);
      this.planSegment(offset);
      batch = undefined;
    }
    batch ??= this.#collect();
    const before = batch.length;
    batch.add(record, offset, time, recordBound);
    batch.sync ||= sync;
    batch.counted += batch.length - before;
    this.pendingBytes += batch.length - before;
    this.pendingRecords++;
  }

  /** Lets `append` wait for the newest batch. Hot. */
  join(append: PendingAppend, sync: boolean): void {
    const batch = this.#collecting ?? this.#collect();
    batch.sync ||= sync;
    batch.appends.push(append);
  }

  /** The batch whose turn it is; undefined when nothing waits. */
  next(): Batch | undefined {
    if (this.#queue.length === 0 && this.#collecting !== undefined) this.#enqueue(this.#collecting);
    return this.#queue.shift();
  }

  /** The same, when it is one of whole blocks, of at least `bytes`, that may begin; else it goes on collecting. */
  nextDirect(bytes: number, mayBegin: (batch: Batch) => boolean): Batch | undefined {
    const batch = this.#queue[0] ?? this.#collecting;
    if (batch === undefined || batch.length === 0 || batch.length < bytes || !mayBegin(batch)) return undefined;
    if (batch === this.#collecting) {
      if (this.#borderOf(batch) === undefined) return undefined;
      this.#enqueue(batch);
    }
    return batch.length % blockBytes === 0 ? this.#queue.shift() : undefined;
  }

  /** The batch waits no more: it is committed, and nothing of it is needed. */
  done(batch: Batch): void {
    this.pendingBytes -= batch.counted;
    this.pendingRecords -= batch.count;
    this.#spaces.give(batch.space);
  }

  /** Gives up all that waits. */
  clear(): readonly Batch[] {
    const batches = this.#collecting === undefined ? this.#queue : [...this.#queue, this.#collecting];
    this.#queue = [];
    this.#collecting = undefined;
    this.pendingBytes = 0;
    this.pendingRecords = 0;
    return batches;
  }

  /** What is added from now on goes into a new segment. */
  planSegment(firstOffset: number): Segment {
    this.wantsSegment = false;
    const { header } = this.#segment;
    const { files, directory, clock } = this.#parts;
    const segment = new Segment(files, directory, {
      ...header,
      generation: 0,
      number: header.number + 1,
      firstOffset,
      created: clock.now(),
    });
    const { index } = this.#segment;
    // it will have about as many
    if (index instanceof ActiveIndex && segment.index instanceof ActiveIndex)
      segment.index.reserve(index.topicCount, index.recordCount);
    this.aim(segment, header.framesAt);
    return segment;
  }

  /** What is added from now on goes there. Nothing may be waiting. */
  aim(segment: Segment, at: number): void {
    this.#segment = segment;
    this.#at = at;
  }

  #collect(): Batch {
    this.#collecting = new Batch(this.#segment, this.#at, this.#spaces.take(), this.#parts.clock.monotonic());
    return this.#collecting;
  }

  #enqueue(batch: Batch): void {
    batch.close(this.#parts.direct() ? this.#borderOf(batch) : undefined);
    this.#at = batch.position + batch.length;
    this.#queue.push(batch);
    this.#collecting = undefined;
  }

  /** Whole blocks where they cost little of the file: few records go through the page cache, as close as they fit. */
  #borderOf({ position, length }: Batch): number | undefined {
    const padded = alignToBlock(position + length);
    const fits = padded + frameHeaderBytes <= this.#parts.segmentBytes;
    return fits && (padded - position - length) * 4 <= length ? blockBytes : undefined;
  }
}
