import { TailraceError } from '@tailrace/protocol';
import type { Clock } from '../../clock.ts';
import type { PendingAppend } from '../../pending-append.ts';
import type { RecordSource } from '../../record.ts';
import { frameHeaderBytes } from '../segment/frame.ts';
import type { Segment } from '../segment/segment.ts';
import type { Batch } from './batch.ts';
import type { CommitQueue } from './commit-queue.ts';
import type { ActiveSegment, LogWriter } from './log-writer.ts';

export interface CommitterParts {
  readonly clock: Clock;
  readonly queue: CommitQueue;
  readonly writer: LogWriter;
  /** A batch of at least so many bytes is written while the one before it still is. */
  readonly secondBytes: number;
  /** The first segment of this run, as long as there is no file of it. */
  readonly firstSegment: () => Segment;
  /** Why the disk takes nothing just now. */
  readonly full: () => string | undefined;
  /** The batch is committed. */
  readonly onCommit: (batch: Batch) => void;
  /** Nothing beyond the committed head was appended: offsets given out above it are free again. */
  readonly onRefused: () => void;
  /** Nothing can be appended any more. */
  readonly onFenced: (reason: string, cause: unknown) => void;
}

/**
 * Commits what is appended, in order. While a batch is written and synced, what is appended is the next one (natural group
 * commit: no timer, idle means at once, busy means larger).
 *
 *    queue ──► write ──► fdatasync ──► owner? ──► commit ──► appends settle
 *                       (unless all `written`)
 *
 * A second batch is on its way to the disk beside the first when it is large, so that the disk works while the next is
 * encoded, and the other way round. Whichever the disk has first: the first is committed before it, and fails before it.
 * Nothing says of a batch that it is durable before it and all before it are, so a start cuts one that a lost one
 * precedes.
 */
export class Committer {
  commits = 0;
  /** Set once a write or sync failed: see I9. */
  fenced: { readonly reason: string; readonly cause: unknown } | undefined;
  readonly #parts: CommitterParts;
  readonly #queue: CommitQueue;
  readonly #writer: LogWriter;
  #writing: Batch | undefined;
  /** Begun while the batch before it was under way. */
  #second: { readonly batch: Batch; readonly written: Promise<void> } | undefined;
  #wantsSecond = false;
  #committed: number;
  #running = false;
  #wantsRoll = false;
  #fenceTold = false;
  #idle: (() => void)[] = [];

  constructor(parts: CommitterParts) {
    this.#parts = parts;
    this.#queue = parts.queue;
    this.#writer = parts.writer;
    this.#committed = parts.writer.durable;
  }

  /** Takes a record of at most `bound` bytes into the next batch; `wait` must follow. Hot. */
  add(record: RecordSource, offset: number, time: number, sync: boolean, bound: number): void {
    this.#queue.add(record, offset, time, sync, bound);
  }

  /**
   * Settles `append` once everything up to `append.until` is committed, and synced too when `sync`: that matters for
   * duplicates of records that were only written.
   */
  wait(append: PendingAppend, sync: boolean): void {
    if (append.until <= (sync ? this.#writer.durable : this.#committed)) {
      append.settle();
      return;
    }
    this.#queue.join(append, sync);
    if (this.#running) {
      this.#wantSecond();
      return;
    }
    this.#running = true;
    // the rest of this turn of the event loop joins the batch
    this.#parts.clock.soon(() => void this.#run());
  }

  /** Called now and then: syncs what was only written, and lets an idle log say on disk what is durable. */
  beat(): void {
    if (this.#running || this.fenced !== undefined || this.#writer.active === undefined) return;
    if (!this.#writer.wantsMark) return;
    this.#running = true;
    void this.#run(true);
  }

  /** Begins a new segment although the active one has room. Resolves when nothing is on its way any more. */
  async roll(): Promise<void> {
    const { active } = this.#writer;
    if (this.fenced !== undefined || active === undefined || active.segment.records === 0) return;
    this.#wantsRoll = true;
    // under load the queue is never empty
    this.#queue.wantsSegment = true;
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
  async close(): Promise<ActiveSegment | undefined> {
    await this.settled();
    if (this.#writer.active !== undefined && this.fenced === undefined) {
      this.#running = true;
      await this.#run(true);
    }
    return this.#writer.active;
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

  async #run(mark = false): Promise<void> {
    const queue = this.#queue;
    try {
      while (this.fenced === undefined) {
        const batch = this.#second?.batch ?? queue.next();
        if (batch === undefined) break;
        this.#writing = batch;
        const stored = await this.#store(batch);
        if (!stored) this.#stopIfFenced();
        this.#writing = undefined;
        if (!stored) {
          this.#refuse(batch);
          continue;
        }
        this.#commit(batch);
        await this.#settle(batch);
      }
      if (this.#wantsRoll && this.fenced === undefined) {
        this.#wantsRoll = false;
        await this.#rollNow();
      }
      if (mark && this.fenced === undefined && queue.empty) await this.#markDurable();
      // a failure elsewhere may have fenced the log meanwhile
      if (this.fenced !== undefined) await this.#fenceBehindWrites(this.fenced.cause);
    } catch (error) {
      await this.#fenceBehindWrites(error);
    }
    // what came while the last step was under way
    if ((!queue.empty || this.#wantsRoll) && this.fenced === undefined) {
      void this.#run();
      return;
    }
    this.#running = false;
    for (const done of this.#idle.splice(0)) done();
  }

  /** Room may not be what was missing. */
  #stopIfFenced(): void {
    if (this.fenced !== undefined) throw this.fenced.cause;
  }

  #commit(batch: Batch): void {
    if (batch.count > 0) {
      batch.commitToIndex();
      this.#committed = batch.lastOffset;
      this.commits++;
    }
    this.#parts.onCommit(batch);
    this.#queue.done(batch);
  }

  /** What the settled appends lead to in this turn belongs to the next batch already. */
  async #settle({ appends, length }: Batch): Promise<void> {
    // what one half leads to is written while the other is at work
    const inHalves = this.#second === undefined && length >= 2 * this.#parts.secondBytes;
    const half = inHalves ? appends.length >>> 1 : 0;
    for (let i = 0; i < half; i++) appends[i]!.settle();
    if (half > 0) {
      await microtasksDone();
      this.#beginNext();
    }
    for (let i = half; i < appends.length; i++) appends[i]!.settle();
    await microtasksDone();
  }

  async #store(batch: Batch): Promise<boolean> {
    if (this.#second === undefined) return this.#writer.store(batch);
    const { written } = this.#second;
    this.#second = undefined;
    this.#beginSecond();
    await written;
    this.#writer.finish(batch);
    return true;
  }

  /** Once the rest of this turn of the event loop has joined the batch. */
  #wantSecond(): void {
    if (this.#wantsSecond || this.#second !== undefined) return;
    this.#wantsSecond = true;
    this.#parts.clock.soon(() => {
      this.#wantsSecond = false;
      this.#beginSecond();
    });
  }

  #beginSecond(): void {
    if (this.#writer.underWay > 0) this.#beginNext();
  }

  #beginNext(): void {
    if (this.#second !== undefined || this.fenced !== undefined) return;
    const batch = this.#queue.nextDirect(this.#parts.secondBytes, next => this.#writer.mayBegin(next));
    if (batch === undefined) return;
    const written = this.#begin(batch);
    // looked at when its turn has come
    written.catch(() => undefined);
    this.#second = { batch, written };
  }

  async #begin(batch: Batch): Promise<void> {
    await this.#writer.begin(batch);
  }

  #refuse(batch: Batch): void {
    const error = new TailraceError('log_full', `nothing was appended: ${this.#parts.full() ?? 'no space'}`);
    const waiting = this.#queue.clear();
    this.#aimAtEnd();
    this.#parts.onRefused();
    this.#failAll([batch, ...waiting], error);
  }

  /** A file must not be closed while something is written to it. */
  async #fenceBehindWrites(cause: unknown): Promise<void> {
    await this.#second?.written.catch(() => undefined);
    this.#fence(cause);
  }

  #fence(cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.fenced = { reason, cause };
    if (!this.#fenceTold) this.#parts.onFenced(reason, cause);
    this.#fenceTold = true;
    const error = new TailraceError('outcome_unknown', `the log failed while the publish was on its way: ${reason}`, {
      cause,
    });
    const begun = [this.#writing, this.#second?.batch].filter(batch => batch !== undefined);
    this.#writing = undefined;
    this.#second = undefined;
    this.#failAll([...begun, ...this.#queue.clear()], error);
  }

  #failAll(batches: readonly Batch[], error: Error): void {
    for (const { appends } of batches) for (const append of appends) append.fail(error, this.#committed);
  }

  /** What is appended next goes behind what is on disk. */
  #aimAtEnd(): void {
    const segment = this.#writer.active?.segment ?? this.#parts.firstSegment();
    this.#queue.aim(segment, segment.end);
  }

  async #rollNow(): Promise<void> {
    const { active } = this.#writer;
    if (active === undefined || active.segment.records === 0 || !this.#queue.empty) return;
    if (!this.#queue.wantsSegment) return;
    const next = this.#queue.planSegment(this.#committed + 1);
    const opened = await this.#writer.open(next, next.header.framesAt);
    // what was appended meanwhile has its place in the new segment, which it will try to open itself
    if (!opened && this.#queue.empty) this.#aimAtEnd();
  }

  async #markDurable(): Promise<void> {
    await this.#writer.sync();
    // what came during the sync has its place already, and carries the durable offset itself
    if (!this.#queue.empty || !this.#writer.canMark) return;
    const { segment } = this.#writer.active!;
    // aimed before anything is awaited: what is appended meanwhile goes behind it
    this.#queue.aim(segment, segment.end + frameHeaderBytes);
    await this.#writer.mark();
  }
}

/** Resolves when every microtask that is queued now, and those they queue, has run. */
function microtasksDone(): Promise<void> {
  return new Promise(resolve => process.nextTick(resolve));
}
