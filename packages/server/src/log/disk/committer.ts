import * as path from 'node:path';
import { TailraceError } from '@tailrace/protocol';
import type { Clock } from '../clock.ts';
import { encodedBound } from '../intake.ts';
import type { PendingAppend } from '../pending-append.ts';
import type { RecordSource } from '../record.ts';
import { Batch, BatchBuffers, batchBytes, frameOverhead } from './batch.ts';
import { type Disk, isNoSpace, type Ownership } from './disk.ts';
import { finishFrame, frameHeaderBytes, writeFrame } from './frame.ts';
import type { OpenFiles } from './open-files.ts';
import type { Filling, Preparer } from './preparer.ts';
import { Segment } from './segment.ts';
import { encodeSegmentHeader, type SegmentHeader, segmentHeaderBytes } from './segment-header.ts';

export interface CommitterParts {
  readonly disk: Disk;
  readonly files: OpenFiles;
  readonly clock: Clock;
  readonly directory: string;
  readonly ownership: Ownership;
  readonly preparer: Preparer;
  readonly segmentBytes: number;
  /** What the first segment of this run looks like. */
  readonly firstHeader: SegmentHeader;
  readonly hooks: CommitHooks;
}

export interface CommitHooks {
  /** A segment has been created and takes what is appended from now on. */
  onSegment(segment: Segment): void;
  /** The segment before is complete and synced: it can be sealed. */
  onFull(segment: Segment, filling: Filling): void;
  /** The batch is committed. */
  onCommit(batch: Batch): void;
  /** Nothing beyond the committed head was appended: offsets given out above it are free again. */
  onRefused(error: TailraceError): void;
  /** Nothing can be appended any more. */
  onFenced(reason: string, cause: unknown): void;
}

/**
 * The only writer of the log. One batch is written and synced at a time; what is appended meanwhile is the next one
 * (natural group commit: no timer, idle means at once, busy means larger).
 *
 *    add ──► collecting ──► queue ──► write ──► fdatasync ──► owner? ──► commit ──► appends settle
 *            (encodes)     (> 1 MiB)            (unless all `written`)
 */
export class Committer {
  /** Newest offset that is synced. */
  durable: number;
  pendingBytes = 0;
  pendingRecords = 0;
  commits = 0;
  /** Set once a write or sync failed: see I9. */
  fenced: { readonly reason: string; readonly cause: unknown } | undefined;
  readonly #parts: CommitterParts;
  readonly #buffers = new BatchBuffers();
  // where the next batch will go: ahead of what is written by what is queued
  #planned: Segment;
  #plannedAt: number;
  #collecting: Batch | undefined;
  #queue: Batch[] = [];
  #writing: Batch | undefined;
  // what has been written: undefined until the first batch of this run creates its segment
  #current: { readonly segment: Segment; readonly filling: Filling } | undefined;
  #written: number;
  #committed: number;
  #dirtySince: number | undefined;
  /** Durable offset that the newest frame on disk carries. */
  #marked = 0;
  #lastWrite = 0;
  #running = false;
  #wantsRoll = false;
  #fenceTold = false;
  #idle: (() => void)[] = [];

  constructor(parts: CommitterParts, head: number) {
    this.#parts = parts;
    this.durable = head;
    this.#written = head;
    this.#committed = head;
    this.#planned = new Segment(parts.files, parts.directory, parts.firstHeader);
    this.#plannedAt = parts.firstHeader.framesAt;
  }

  get current(): Segment | undefined {
    return this.#current?.segment;
  }

  /** Encodes a record into the next batch. Hot. */
  add(record: RecordSource, offset: number, time: number, sync: boolean): void {
    const bound = encodedBound(record) + frameOverhead;
    let batch = this.#collecting;
    if (batch !== undefined && batch.length > 0 && batch.length + bound > batchBytes) {
      this.#enqueue(batch);
      batch = undefined;
    }
    const at = batch === undefined ? this.#plannedAt : batch.position + batch.length;
    // one empty frame more must fit, for the durable offset at the end
    if (
      at + bound + frameHeaderBytes > this.#parts.segmentBytes &&
      (at > this.#planned.header.framesAt || (batch?.length ?? 0) > 0)
    ) {
      if (batch !== undefined) this.#enqueue(batch);
      this.#planNext(offset);
      batch = undefined;
    }
    batch ??= this.#collect();
    const before = batch.length;
    batch.add(record, offset, time);
    batch.sync ||= sync;
    batch.counted += batch.length - before;
    this.pendingBytes += batch.length - before;
    this.pendingRecords++;
  }

  /**
   * Settles `append` once everything up to `append.until` is committed, and synced too when `sync`: that matters for
   * duplicates of records that were only written.
   */
  wait(append: PendingAppend, sync: boolean): void {
    if (append.until <= (sync ? this.durable : this.#committed)) {
      append.settle();
      return;
    }
    const batch = this.#collecting ?? this.#collect();
    batch.sync ||= sync;
    batch.appends.push(append);
    if (this.#running) return;
    this.#running = true;
    // the rest of this turn of the event loop joins the batch
    this.#parts.clock.soon(() => void this.#run());
  }

  /** Called now and then: syncs what was only written, and lets an idle log say on disk what is durable. */
  beat(): void {
    if (this.#running || this.fenced !== undefined || this.#current === undefined) return;
    const quiet = this.#parts.clock.monotonic() - this.#lastWrite > 400;
    if (this.#dirtySince !== undefined || (quiet && this.#marked < this.durable)) {
      this.#running = true;
      void this.#run(true);
    }
  }

  /** Begins a new segment although the current one has room. Resolves when nothing is on its way any more. */
  async roll(): Promise<void> {
    if (this.fenced !== undefined || this.#current === undefined || this.#current.segment.records === 0) return;
    this.#wantsRoll = true;
    if (!this.#running) {
      this.#running = true;
      void this.#run();
    }
    await this.settled();
  }

  /** Resolves when nothing is on its way. */
  settled(): Promise<void> {
    return this.#running ? new Promise(resolve => this.#idle.push(resolve)) : Promise.resolve();
  }

  /** Writes the durable offset a last time and gives the file up. No append may follow. */
  async close(): Promise<{ readonly segment: Segment; readonly filling: Filling } | undefined> {
    await this.settled();
    if (this.#current !== undefined && this.fenced === undefined) {
      this.#running = true;
      await this.#run(true);
    }
    return this.#current;
  }

  #collect(): Batch {
    const { clock } = this.#parts;
    this.#collecting = new Batch(this.#planned, this.#plannedAt, this.#buffers.take(), clock.monotonic());
    return this.#collecting;
  }

  #enqueue(batch: Batch): void {
    batch.close();
    this.#plannedAt = batch.position + batch.length;
    this.#queue.push(batch);
    this.#collecting = undefined;
  }

  #planNext(firstOffset: number): void {
    const { header } = this.#planned;
    const { files, directory, clock } = this.#parts;
    this.#planned = new Segment(files, directory, {
      ...header,
      generation: 0,
      number: header.number + 1,
      firstOffset,
      created: clock.now(),
    });
    this.#plannedAt = this.#planned.header.framesAt;
  }

  #next(): Batch | undefined {
    if (this.#queue.length === 0 && this.#collecting !== undefined) this.#enqueue(this.#collecting);
    return this.#queue.shift();
  }

  async #run(mark = false): Promise<void> {
    try {
      for (let batch = this.#next(); batch !== undefined && this.fenced === undefined; batch = this.#next()) {
        this.#writing = batch;
        const stored = await this.#store(batch);
        this.#writing = undefined;
        if (!stored) {
          this.#refuse(batch);
          continue;
        }
        this.#commit(batch);
        // what the settled appends lead to in this turn belongs to the next batch already
        await microtasksDone();
      }
      if (this.#wantsRoll && this.fenced === undefined) {
        this.#wantsRoll = false;
        await this.#rollNow();
      }
      if (mark && this.fenced === undefined && this.#collecting === undefined) await this.#markDurable();
      // a failure elsewhere may have fenced the log meanwhile
      if (this.fenced !== undefined) this.#fence(this.fenced.cause);
    } catch (error) {
      this.#fence(error);
    }
    // what came while the last step was under way
    if ((this.#collecting !== undefined || this.#wantsRoll) && this.fenced === undefined) {
      void this.#run();
      return;
    }
    this.#running = false;
    for (const done of this.#idle.splice(0)) done();
  }

  /** False when there is no room on the disk: then nothing of the batch was written. */
  async #store(batch: Batch): Promise<boolean> {
    if (batch.length > 0) {
      const end = batch.position + batch.length;
      if (batch.segment !== this.#current?.segment && !(await this.#openSegment(batch.segment, end))) return false;
      const { segment, filling } = this.#current!;
      if (filling.filled < end && !(await this.#parts.preparer.fill(filling, end))) {
        if (this.fenced !== undefined) throw this.fenced.cause;
        return false;
      }
      segment.lastCrc = batch.finish(this.durable, segment.lastCrc);
      this.#marked = this.durable;
      await filling.file.write(batch.buffer, 0, batch.length, batch.position);
      this.#parts.preparer.used(end);
      this.#written = batch.lastOffset;
      this.#lastWrite = this.#parts.clock.monotonic();
      this.#dirtySince ??= this.#lastWrite;
    }
    if (batch.sync) await this.#sync();
    return true;
  }

  async #sync(): Promise<void> {
    if (this.#current === undefined || this.#dirtySince === undefined) return;
    const written = this.#written;
    await this.#current.filling.file.sync();
    // what was synced by an owner that is one no more may be missing in what the new owner read
    if (this.#parts.ownership.lost()) throw new OwnershipLost();
    this.durable = written;
    this.#dirtySince = undefined;
  }

  #commit(batch: Batch): void {
    if (batch.count > 0) {
      batch.commitToIndex();
      this.#committed = batch.lastOffset;
      this.commits++;
    }
    this.pendingBytes -= batch.counted;
    this.pendingRecords -= batch.count;
    this.#parts.hooks.onCommit(batch);
    for (const append of batch.appends) append.settle();
    this.#buffers.give(batch.buffer);
  }

  #refuse(batch: Batch): void {
    const reason = this.#parts.preparer.full ?? 'no space';
    this.#reset();
    const error = new TailraceError('log_full', `nothing was appended: ${reason}`);
    this.#parts.hooks.onRefused(error);
    this.#failAll(batch, error);
  }

  #fence(cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.fenced = { reason, cause };
    if (!this.#fenceTold) this.#parts.hooks.onFenced(reason, cause);
    this.#fenceTold = true;
    const error = new TailraceError('outcome_unknown', `the log failed while the publish was on its way: ${reason}`, {
      cause,
    });
    this.#failAll(this.#writing, error);
    this.#writing = undefined;
  }

  /** A failure elsewhere in the log's files, after which nothing may be appended. */
  fence(cause: unknown): void {
    if (this.fenced !== undefined) return;
    if (this.#running) {
      // the run that is under way finds it when it next needs the disk
      this.fenced = { reason: cause instanceof Error ? cause.message : String(cause), cause };
      return;
    }
    this.#fence(cause);
  }

  #failAll(first: Batch | undefined, error: Error): void {
    const batches = [first, ...this.#queue, this.#collecting];
    this.#queue = [];
    this.#collecting = undefined;
    this.pendingBytes = 0;
    this.pendingRecords = 0;
    for (const batch of batches) for (const append of batch?.appends ?? []) append.fail(error, this.#committed);
  }

  /** Plans go back to what is on disk. */
  #reset(): void {
    if (this.#current !== undefined) {
      this.#planned = this.#current.segment;
      this.#plannedAt = this.#current.segment.end;
      return;
    }
    this.#planned = new Segment(this.#parts.files, this.#parts.directory, this.#parts.firstHeader);
    this.#plannedAt = this.#parts.firstHeader.framesAt;
  }

  /**
   * The next segment gets its header and its name. The one before is synced first: a segment whose header is there
   * proves that the one before it was complete.
   */
  async #openSegment(segment: Segment, bytes: number): Promise<boolean> {
    const { disk, directory, preparer, hooks } = this.#parts;
    await this.#sync();
    const prepared = await preparer.take(bytes);
    if (prepared === undefined) {
      if (this.fenced !== undefined) throw this.fenced.cause;
      return false;
    }
    const before = this.#current;
    const header = { ...segment.header, previousCrc: before?.segment.lastCrc ?? segment.header.previousCrc };
    segment.lastCrc = header.previousCrc;
    await prepared.file.write(encodeSegmentHeader(header), 0, segmentHeaderBytes, 0);
    await prepared.file.sync();
    try {
      await disk.link(prepared.path, path.join(directory, segment.name));
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      preparer.giveBack(prepared);
      return false;
    }
    await disk.unlink(prepared.path);
    await disk.syncDirectory(directory);
    if (this.#parts.ownership.lost()) throw new OwnershipLost();
    this.#current = { segment, filling: prepared };
    hooks.onSegment(segment);
    if (before !== undefined) {
      before.segment.sealed = true;
      hooks.onFull(before.segment, before.filling);
    }
    return true;
  }

  async #rollNow(): Promise<void> {
    if (this.#current === undefined || this.#current.segment.records === 0 || this.#collecting !== undefined) return;
    this.#planNext(this.#committed + 1);
    const opened = await this.#openSegment(this.#planned, this.#planned.header.framesAt);
    // what was appended meanwhile has its place in the new segment, which it will try to open itself
    if (!opened && this.#collecting === undefined && this.#queue.length === 0) this.#reset();
  }

  /** An empty frame that carries the durable offset, so that damage below it can be told from an unfinished write. */
  async #markDurable(): Promise<void> {
    await this.#sync();
    const { segment, filling } = this.#current!;
    const end = segment.end + frameHeaderBytes;
    // what came during the sync has its place already, and carries the durable offset itself
    if (this.#collecting !== undefined || this.#marked >= this.durable || filling.filled < end) return;
    // planned before anything is awaited: what is appended meanwhile goes behind it
    const position = segment.end;
    this.#plannedAt = end;
    const frame = Buffer.alloc(frameHeaderBytes);
    writeFrame(frame, 0, frameHeaderBytes, 0, this.durable + 1, this.durable, segment.lastTime, segment.seed);
    segment.lastCrc = finishFrame(frame, 0, this.durable, segment.lastCrc, segment.seed);
    await filling.file.write(frame, 0, frame.length, position);
    segment.end = end;
    this.#marked = this.durable;
    await filling.file.sync();
    if (this.#parts.ownership.lost()) throw new OwnershipLost();
  }
}

class OwnershipLost extends Error {
  constructor() {
    super('another process has taken over the data directory');
    this.name = 'OwnershipLost';
  }
}

/** Resolves when every microtask that is queued now, and those they queue, has run. */
function microtasksDone(): Promise<void> {
  return new Promise(resolve => process.nextTick(resolve));
}
