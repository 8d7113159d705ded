import { type Message, TailraceError } from '@tailrace/protocol';
import type { Pending } from '../../admission.ts';
import { encodedBound, type Intake } from '../../intake.ts';
import type { Appended, AppendFailure, Log } from '../../log.ts';
import { logDefaults } from '../../options.ts';
import type { StoredDurability } from '../../record.ts';
import { DedupeCheckpoints } from '../dedupe/dedupe-checkpoints.ts';
import { remember } from '../dedupe/remember.ts';
import { OwnershipLost } from '../files/disk.ts';
import { DiskSpace } from '../files/disk-space.ts';
import { ActiveIndex } from '../index/active-index.ts';
import { Sealer } from '../index/sealer.ts';
import type { OpenedLog } from '../opened-log.ts';
import { Segment } from '../segment/segment.ts';
import { type SegmentHeader, segmentHeaderBytes } from '../segment/segment-header.ts';
import type { Batch } from './batch.ts';
import { CommitQueue } from './commit-queue.ts';
import { Committer } from './committer.ts';
import { LogWriter } from './log-writer.ts';
import { type Filling, Preparer } from './preparer.ts';

/** Of 64 MiB it leaves 4 MiB: at 1,000 small records a second some seconds. */
const nearlyFullShare = 15 / 16;

export interface LogAppendsParts {
  readonly log: Pick<Log, 'head'>;
  readonly intake: Intake;
  /** Records are committed: they become the head. Hot. */
  readonly onCommit: (batch: Batch) => void;
  /** Nothing above the head was appended. */
  readonly onRefused: () => void;
  /** Nothing can be appended any more. */
  readonly onFenced: () => void;
  /** A segment is complete: it is about to be sealed. */
  readonly onComplete: () => void;
}

/** How often what was only `written` is synced and an idle log marks what is durable, in ms. */
const beatMs = 500;

/** Of 64 MiB it is 64 KiB: a second commit of less costs the processor more than the disk gains. */
const secondShare = 1024;

/** The appends of a log on disk: from the intake to their commit, and what becomes of the segments they fill. */
export class LogAppends {
  readonly sealer: Sealer;
  readonly checkpoints: DedupeCheckpoints;
  readonly #opened: OpenedLog;
  readonly #parts: LogAppendsParts;
  readonly #preparer: Preparer;
  readonly #space: DiskSpace;
  readonly #queue: CommitQueue;
  readonly #writer: LogWriter;
  readonly #committer: Committer;
  /** Bytes of a segment that will soon be sealed. */
  readonly #nearlyFull: number;
  #stopBeat: () => void = () => undefined;

  constructor(opened: OpenedLog, parts: LogAppendsParts) {
    this.#opened = opened;
    this.#parts = parts;
    const { options, disk, clock, report, ownership, identity, epochs, recovered, files, reading, housework } = opened;
    const { directory, segmentBytes = logDefaults.segmentBytes } = options;
    this.#nearlyFull = segmentBytes * nearlyFullShare;
    this.#preparer = new Preparer(
      disk,
      clock,
      directory,
      epochs.current!.epoch,
      segmentBytes,
      () => this.#space.tell(),
      error => this.#committer.fence(error),
    );
    this.#space = new DiskSpace(opened.start, this.#preparer, report);
    const firstHeader: SegmentHeader = {
      generation: 0,
      number: recovered.nextSegment,
      epoch: epochs.current!.epoch,
      firstOffset: recovered.head + 1,
      created: clock.now(),
      previousCrc: recovered.segments.at(-1)?.chainCrc ?? 0,
      logId: identity.id,
      secret: identity.secret,
      framesAt: segmentHeaderBytes,
    };
    const firstSegment = (): Segment => new Segment(files, directory, firstHeader);
    this.#queue = new CommitQueue(
      { files, clock, directory, segmentBytes, direct: () => this.#writer.direct },
      firstSegment(),
    );
    this.#writer = new LogWriter(
      {
        disk,
        clock,
        directory,
        ownership,
        preparer: this.#preparer,
        recordStart: () => this.#space.recordStart(),
        onSegment: segment => this.#onSegment(segment),
        onFull: (segment, filling) => {
          this.#complete(segment, filling);
          this.checkpoints.take(segment);
          parts.onComplete();
        },
      },
      recovered.head,
    );
    this.#committer = new Committer({
      clock,
      queue: this.#queue,
      writer: this.#writer,
      secondBytes: segmentBytes / secondShare,
      firstSegment,
      full: () => this.#space.full,
      onCommit: batch => this.#onCommit(batch),
      onRefused: () => this.#onRefused(),
      onFenced: (reason, cause) => this.#onFenced(reason, cause),
    });
    const run = epochs.current!.epoch;
    this.sealer = new Sealer({ disk, clock, directory, run, housework, reading, preparer: this.#preparer, report });
    this.checkpoints = new DedupeCheckpoints({
      disk,
      directory,
      logId: identity.id,
      dedupe: parts.intake.dedupe,
      lossAccepted: recovered.lost.length > 0,
      report,
    });
  }

  /** What the constructor cannot wait for. */
  async start(): Promise<void> {
    const { options, clock, report, segments, reading } = this.#opened;
    await remember(segments.all, reading.gate, this.#parts.intake, this.checkpoints, options, report);
    for (const segment of segments.all) if (segment.index instanceof ActiveIndex) this.sealer.seal(segment, undefined);
    const newest = segments.all.at(-1);
    if (newest !== undefined) this.checkpoints.take(newest);
    this.#space.tell();
    this.#preparer.start();
    this.#stopBeat = clock.every(beatMs, () => this.#beat());
  }

  get pending(): Pending {
    return this.#queue;
  }

  get commits(): number {
    return this.#committer.commits;
  }

  /** Newest offset that is synced. */
  get durable(): number {
    return this.#writer.durable;
  }

  /** Why nothing is appended any more. */
  get fenced(): string | undefined {
    return this.#committer.fenced?.reason;
  }

  /** Why the disk refuses what is appended, just now. */
  get full(): string | undefined {
    return this.#space.refused ? this.#space.full : undefined;
  }

  /** Hot. */
  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    const committer = this.#committer;
    if (committer.fenced !== undefined) return this.refuse();
    const { intake } = this.#parts;
    const sync = durability === 'fsync';
    const append = intake.begin();
    for (let i = 0; i < messages.length; i++) {
      const message = messages[i]!;
      const bound = encodedBound(message);
      const offset = intake.admit(message, bound, append);
      if (offset > 0) committer.add(message, offset, intake.time, sync, bound);
      else if ('error' in append.results[i]!) break;
    }
    committer.wait(append, sync);
    return append.promise;
  }

  /** For an append to a log that is closed or fenced. */
  refuse(): Promise<never> {
    const { fenced } = this.#committer;
    return Promise.reject(
      fenced === undefined
        ? new TailraceError('draining', 'the log is closed')
        : new TailraceError('log_fenced', `the log takes nothing since an error: ${fenced.reason}`, {
            cause: fenced.cause,
          }),
    );
  }

  /** As a repeated publish waits for the first: for the sync of all there is. */
  async makeDurable(): Promise<void> {
    const append = this.#parts.intake.begin();
    append.until = this.#parts.log.head.offset;
    this.#committer.wait(append, true);
    await append.promise;
  }

  /** Begins a new segment, so that the active one can go. */
  roll(): Promise<void> {
    return this.#committer.roll();
  }

  /** Leaves complete segments behind. No append may follow. */
  async close(): Promise<void> {
    this.#stopBeat();
    await this.#opened.start.settled();
    const active = await this.#committer.close();
    if (active !== undefined && this.fenced === undefined) this.#complete(active.segment, active.filling);
    else if (active !== undefined) {
      // an index would vouch for what a failed sync may have lost: the next start has to look (I9)
      await this.#preparer.leave(active.filling);
      await active.filling.file.close();
    }
    await this.sealer.settled();
    await this.checkpoints.close(this.fenced === undefined ? this.#opened.segments.all.at(-1) : undefined);
    await this.#preparer.close();
  }

  #onSegment(segment: Segment): void {
    segment.lastTime = this.#parts.log.head.time;
    this.#opened.segments.push(segment);
  }

  #complete(segment: Segment, filling: Filling): void {
    this.sealer.seal(segment, filling);
    this.checkpoints.behind(segment);
  }

  /** Hot. */
  #onCommit(batch: Batch): void {
    if (batch.count === 0) return;
    this.#space.refused = false;
    if (batch.position + batch.length > this.#nearlyFull) this.sealer.prepareFor(batch.segment);
    this.#parts.onCommit(batch);
  }

  #onRefused(): void {
    this.#space.refused = true;
    this.#parts.onRefused();
  }

  #onFenced(reason: string, cause: unknown): void {
    this.#parts.onFenced();
    const detail = cause instanceof Error && cause.cause !== undefined ? ` (${String(cause.cause)})` : '';
    const message = `the log takes nothing more: ${reason}${detail}`;
    const kind = cause instanceof OwnershipLost ? 'owner_lost' : 'fenced';
    this.#opened.report({ level: 'error', kind, message });
  }

  #beat(): void {
    // readiness must come back although nobody publishes to a log that says it is full
    if (this.#opened.start.full !== undefined) this.#space.recordStart().catch(error => this.#committer.fence(error));
    // one that nobody publishes to must find out too
    if (this.fenced === undefined && this.#opened.ownership.lost()) this.#committer.fence(new OwnershipLost());
    this.#committer.beat();
  }
}
