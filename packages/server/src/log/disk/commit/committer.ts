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
 * Commits what is appended, in order. One batch is written and synced at a time; what is appended meanwhile is the next
 * one (natural group commit: no timer, idle means at once, busy means larger).
 *
 *    queue ──► write ──► fdatasync ──► owner? ──► commit ──► appends settle
 *                       (unless all `written`)
 */
export class Committer {
  commits = 0;
  /** Set once a write or sync failed: see I9. */
  fenced: { readonly reason: string; readonly cause: unknown } | undefined;
  readonly #parts: CommitterParts;
  readonly #queue: CommitQueue;
  readonly #writer: LogWriter;
  #writing: Batch | undefined;
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
    if (this.#running) return;
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
      for (let batch = queue.next(); batch !== undefined && this.fenced === undefined; batch = queue.next()) {
        this.#writing = batch;
        const stored = await this.#writer.store(batch);
        if (!stored) this.#stopIfFenced();
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
      if (mark && this.fenced === undefined && queue.empty) await this.#markDurable();
      // a failure elsewhere may have fenced the log meanwhile
      if (this.fenced !== undefined) this.#fence(this.fenced.cause);
    } catch (error) {
      this.#fence(error);
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
    for (const append of batch.appends) append.settle();
  }

  #refuse(batch: Batch): void {
    const error = new TailraceError('log_full', `nothing was appended: ${this.#parts.full() ?? 'no space'}`);
    const waiting = this.#queue.clear();
    this.#aimAtEnd();
    this.#parts.onRefused();
    this.#failAll(batch, waiting, error);
  }

  #fence(cause: unknown): void {
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.fenced = { reason, cause };
    if (!this.#fenceTold) this.#parts.onFenced(reason, cause);
    this.#fenceTold = true;
    const error = new TailraceError('outcome_unknown', `the log failed while the publish was on its way: ${reason}`, {
      cause,
    });
    this.#failAll(this.#writing, this.#queue.clear(), error);
    this.#writing = undefined;
  }

  #failAll(first: Batch | undefined, rest: readonly Batch[], error: Error): void {
    for (const append of first?.appends ?? []) append.fail(error, this.#committed);
    for (const batch of rest) for (const append of batch.appends) append.fail(error, this.#committed);
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
