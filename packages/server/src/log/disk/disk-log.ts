import { type FilterSet, type Message, TailraceError } from '@tailrace/protocol';
import type { Clock } from '../clock.ts';
import { currentOf } from '../current.ts';
import type { EpochList } from '../epoch-list.ts';
import { HeldAppends } from '../held-appends.ts';
import { HotTail } from '../hot-tail.ts';
import { encodedBound, Intake } from '../intake.ts';
import { KeyIndex } from '../key-index.ts';
import type {
  Appended,
  AppendFailure,
  Current,
  Dropped,
  Log,
  LogCapabilities,
  LogStatus,
  Position,
  Slice,
  TailListener,
  TopicInfo,
} from '../log.ts';
import { type CommonLogOptions, type KeepOptions, logDefaults, type ScrubOptions } from '../options.ts';
import type { Random } from '../random.ts';
import type { LogRecord, StoredDurability } from '../record.ts';
import type { LogReport, OffsetRange } from '../report.ts';
import { type Tables, tablesOf } from '../tables.ts';
import { ActiveIndex } from './active-index.ts';
import type { Batch } from './batch.ts';
import { CommitQueue } from './commit-queue.ts';
import { Committer } from './committer.ts';
import { type Compacted, Compactor } from './compaction/compactor.ts';
import { DamagedReads } from './damaged-reads.ts';
import { DedupeCheckpoints } from './dedupe-checkpoints.ts';
import type { Disk, Ownership } from './disk.ts';
import type { Identity } from './identity.ts';
import { LogReads } from './log-reads.ts';
import { LogWriter } from './log-writer.ts';
import type { OpenFiles } from './open-files.ts';
import { Preparer } from './preparer.ts';
import type { Reader } from './reader.ts';
import { ReadsInFlight } from './reads-in-flight.ts';
import type { Recovered } from './recovery.ts';
import { remember, rememberedFrom } from './remember.ts';
import { Retention } from './retention.ts';
import { Scrub } from './scrub.ts';
import type { IndexReading } from './sealed-index.ts';
import { Sealer } from './sealer.ts';
import { Segment } from './segment.ts';
import { type SegmentHeader, segmentHeaderBytes } from './segment-header.ts';
import type { SegmentList } from './segment-list.ts';
import type { StartRecord } from './start-record.ts';
import { Turns } from './turns.ts';

export interface DiskLogOptions extends CommonLogOptions {
  /** Created when missing; owned by one process at a time. */
  readonly directory: string;
  readonly disk?: Disk | undefined;
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
  /** Bytes of one segment; a larger record still fits into one of its own. */
  readonly segmentBytes?: number | undefined;
  /** Goes on after corruption, without what is lost; the lost offsets are reported. */
  readonly acceptLoss?: boolean | undefined;
  readonly scrub?: ScrubOptions | undefined;
  /** Rules that keep less of some topics than retention leaves. */
  readonly keep?: KeepOptions | undefined;
}

/** How often what was only `written` is synced and an idle log marks what is durable, in ms. */
const beatMs = 500;

/** What a log remembers beside its records, and what it had no room for. */
export interface LogMemory {
  readonly ids: number;
  readonly producers: number;
  readonly dedupeCutShort: number;
  readonly endedTopics: number;
  readonly endedCutShort: number;
  /** Topics whose keys are in memory; times that keys were read from the log. */
  readonly tables: number;
  readonly tableBytes: number;
  readonly tableLoads: number;
}

/** What opening a log leads to: recovered files, and what they are read through. */
export interface OpenedLog {
  readonly options: DiskLogOptions & { readonly disk: Disk; readonly clock: Clock };
  readonly ownership: Ownership;
  readonly identity: Identity;
  /** With the epoch that begins now. */
  readonly epochs: EpochList;
  readonly start: StartRecord;
  readonly recovered: Recovered;
  readonly files: OpenFiles;
  readonly segments: SegmentList;
  readonly reader: Reader;
  readonly reading: IndexReading;
  readonly lost: readonly OffsetRange[];
}

/** A log in a directory of its own. `openDiskLog` makes one. */
export class DiskLog implements Log {
  readonly id: string;
  readonly capabilities: LogCapabilities = { durabilities: ['fsync', 'written'] };
  readonly hot: HotTail;
  readonly lost: readonly OffsetRange[];
  readonly tables: Tables;
  head: Position;
  readonly #options: DiskLogOptions & { readonly disk: Disk; readonly clock: Clock };
  readonly #ownership: Ownership;
  readonly #epochs: EpochList;
  readonly #start: StartRecord;
  readonly #intake: Intake;
  readonly #keys: KeyIndex;
  readonly #held: HeldAppends;
  readonly #segments: SegmentList;
  readonly #files: OpenFiles;
  readonly #reading: IndexReading;
  readonly #reads: LogReads;
  readonly #damaged: DamagedReads;
  readonly #preparer: Preparer;
  readonly #queue: CommitQueue;
  readonly #writer: LogWriter;
  readonly #committer: Committer;
  readonly #sealer: Sealer;
  readonly #checkpoints: DedupeCheckpoints;
  readonly #retention: Retention;
  readonly #scrub: Scrub;
  readonly #compactor: Compactor;
  readonly #listeners = new Set<TailListener>();
  readonly #pendingBytesMax: number;
  readonly #pendingRecordsMax: number;
  #stopBeat: () => void = () => undefined;
  #refusedFull = false;
  #toldFull = false;
  #closing: Promise<void> | undefined;

  constructor(opened: OpenedLog) {
    const { options, ownership, identity, epochs, recovered, files, segments, reader, reading } = opened;
    const { disk, clock, directory } = options;
    this.#options = options;
    this.#ownership = ownership;
    this.#epochs = epochs;
    this.#start = opened.start;
    this.id = identity.id;
    this.lost = opened.lost;
    this.#segments = segments;
    this.#files = files;
    for (const segment of recovered.segments) segments.push(segment);
    const time = recovered.segments[recovered.segments.length - 1]?.lastTime ?? 0;
    this.head = { epoch: epochs.epochOf(recovered.head), offset: recovered.head, time };
    this.hot = new HotTail(options.hotBytes ?? logDefaults.hotBytes, recovered.head);
    this.tables = tablesOf(options.tableRules ?? []);
    this.#keys = new KeyIndex(this, options.keyIndexBytes ?? logDefaults.keyIndexBytes);
    this.#intake = new Intake(options, clock, this.#keys, recovered.head, time);
    this.#held = new HeldAppends({
      index: this.#keys,
      head: () => this.head.offset,
      appended: () => this.#intake.nextOffset - 1,
      append: (messages, durability) => this.#append(messages, durability),
    });
    this.#reading = reading;
    this.#pendingBytesMax = options.pending?.bytes ?? logDefaults.pending.bytes;
    this.#pendingRecordsMax = options.pending?.records ?? logDefaults.pending.records;
    const segmentBytes = options.segmentBytes ?? logDefaults.segmentBytes;
    this.#preparer = new Preparer(
      disk,
      clock,
      directory,
      epochs.current!.epoch,
      segmentBytes,
      () => this.#tellSpace(),
      error => this.#committer.fence(error),
    );
    const firstHeader: SegmentHeader = {
      generation: 0,
      number: recovered.nextSegment,
      epoch: epochs.current!.epoch,
      firstOffset: recovered.head + 1,
      created: clock.now(),
      previousCrc: recovered.segments[recovered.segments.length - 1]?.chainCrc ?? 0,
      logId: identity.id,
      secret: identity.secret,
      framesAt: segmentHeaderBytes,
    };
    const firstSegment = (): Segment => new Segment(files, directory, firstHeader);
    this.#queue = new CommitQueue({ files, clock, directory, segmentBytes }, firstSegment());
    this.#writer = new LogWriter(
      {
        disk,
        clock,
        directory,
        ownership,
        preparer: this.#preparer,
        recordStart: () => this.#recordStart(),
        onSegment: segment => this.#onSegment(segment),
        onFull: (segment, filling) => {
          this.#sealer.seal(segment, filling);
          this.#checkpoints.behind(segment);
          this.#checkpoints.take(segment);
        },
      },
      recovered.head,
    );
    this.#committer = new Committer({
      clock,
      queue: this.#queue,
      writer: this.#writer,
      firstSegment,
      full: () => this.#full,
      onCommit: batch => this.#onCommit(batch),
      onRefused: () => this.#onRefused(),
      onFenced: (reason, cause) => this.#onFenced(reason, cause),
    });
    this.#sealer = new Sealer({
      disk,
      clock,
      directory,
      reading,
      preparer: this.#preparer,
      report: report => this.#report(report),
    });
    this.#checkpoints = new DedupeCheckpoints({
      disk,
      directory,
      ownership,
      logId: identity.id,
      dedupe: this.#intake.dedupe,
      lossAccepted: recovered.lost.length > 0,
      report: report => this.#report(report),
    });
    const inFlight = new ReadsInFlight();
    this.#reads = new LogReads(this, { segments, reader, reading, sealer: this.#sealer, inFlight });
    this.#damaged = new DamagedReads({ segments, gate: reader.gate, report: report => this.#report(report) });
    const turns = new Turns();
    this.#retention = new Retention({
      disk,
      clock,
      cache: reading.cache,
      options: options.retention ?? {},
      segments: this.#segments,
      sealer: this.#sealer,
      turns,
      roll: () => this.#committer.roll(),
      report: report => this.#report(report),
      floor: (recovered.segments[0]?.firstOffset ?? recovered.head + 1) - 1,
      onFloor: floor => this.#intake.ended.trim(floor),
    });
    this.#scrub = new Scrub({
      clock,
      gate: reader.gate,
      segments,
      options: options.scrub ?? { intervalMs: 0, bytesPerSecond: 0 },
      busy: () => this.#queue.pendingRecords > 0,
      report: report => this.#report(report),
    });
    this.#compactor = new Compactor({
      disk,
      clock,
      directory,
      reading,
      secret: identity.secret,
      options: options.keep,
      segments,
      sealer: this.#sealer,
      ownership,
      turns,
      inFlight,
      hotBase: () => this.hot.base,
      makeDurable: () => this.#makeDurable(),
      rememberedFrom: () => rememberedFrom(segments.all, options.dedupe),
      report: report => this.#report(report),
    });
  }

  /** What the constructor cannot wait for. */
  async start(): Promise<void> {
    await remember(this.#segments.all, this.#reading.gate, this.#intake, this.#checkpoints, this.#options, report =>
      this.#report(report),
    );
    for (const segment of this.#segments.all)
      if (segment.index instanceof ActiveIndex) this.#sealer.seal(segment, undefined);
    const newest = this.#segments.all.at(-1);
    if (newest !== undefined) this.#checkpoints.take(newest);
    this.#refusedFull = this.#start.full !== undefined;
    this.#tellSpace();
    this.#preparer.start();
    this.#retention.start();
    this.#scrub.start();
    this.#compactor.start();
    this.#stopBeat = this.#options.clock.every(beatMs, () => this.#beat());
  }

  get floor(): number {
    return this.#retention.floor;
  }

  get status(): LogStatus {
    const { fenced, commits } = this.#committer;
    const { pendingBytes, pendingRecords } = this.#queue;
    // what was not refused yet may still fit into what is filled
    const full = this.#refusedFull ? this.#full : undefined;
    return {
      state:
        this.#closing !== undefined ? 'closed' : fenced !== undefined ? 'fenced' : full !== undefined ? 'full' : 'open',
      reason: fenced?.reason ?? full,
      segments: this.#segments.all.length,
      bytes: this.#segments.bytes,
      pendingRecords,
      pendingBytes,
      commits,
      damagedReads: this.#damaged.count,
      scrub: this.#scrub,
    };
  }

  /** Newest offset that is synced: at most the head, less while records are only `written`. */
  get durableOffset(): number {
    return this.#writer.durable;
  }

  /** What is remembered of earlier publishes, for metrics. */
  get memory(): LogMemory {
    const { dedupe, ended } = this.#intake;
    return {
      ids: dedupe.idCount,
      producers: dedupe.producerCount,
      dedupeCutShort: dedupe.cutShort,
      endedTopics: ended.size,
      endedCutShort: ended.dropped,
      tables: this.#keys.tables,
      tableBytes: this.#keys.bytes,
      tableLoads: this.#keys.loads,
    };
  }

  /** Hot: one Promise a call, no closure and no Promise a record. */
  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    if (this.#closing !== undefined) return this.#refuse();
    const held = this.#held;
    const pendingBytes = this.#queue.pendingBytes + held.bytes;
    const pendingRecords = this.#queue.pendingRecords + held.records;
    let incoming = 0;
    let expects = false;
    for (let i = 0; i < messages.length; i++) {
      incoming += encodedBound(messages[i]!);
      expects ||= messages[i]!.expect !== undefined;
    }
    if (
      pendingRecords > 0 &&
      (pendingBytes + incoming > this.#pendingBytesMax || pendingRecords + messages.length > this.#pendingRecordsMax)
    ) {
      return Promise.reject(
        new TailraceError('overloaded', `${pendingRecords} records wait for their commit`, {
          retryAfter: 100,
        }),
      );
    }
    if ((expects || held.records > 0) && held.mustHold(messages)) return held.hold(messages, durability, incoming);
    return this.#append(messages, durability);
  }

  /** Hot. */
  #append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    const committer = this.#committer;
    if (committer.fenced !== undefined) return this.#refuse();
    const sync = durability === 'fsync';
    const append = this.#intake.begin();
    for (let i = 0; i < messages.length; i++) {
      const message = messages[i]!;
      const bound = encodedBound(message);
      const offset = this.#intake.admit(message, bound, append);
      if (offset > 0) committer.add(message, offset, this.#intake.time, sync, bound);
      else if ('error' in append.results[i]!) break;
    }
    committer.wait(append, sync);
    return append.promise;
  }

  tail(listener: TailListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    return this.#reads.read(after, to, filters, maxBytes).catch(this.#damaged.refuse);
  }

  newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    return this.#reads.newest(filters, count, to).catch(this.#damaged.refuse);
  }

  current(filters: FilterSet, to?: Position): Promise<Current> {
    const appended = (): number => this.#intake.nextOffset - 1;
    const newest = (asked: FilterSet, upTo: number): Promise<ReadonlyMap<string, readonly number[]>> =>
      this.#reads.newestByTopic(asked, 1, upTo);
    return currentOf({ log: this, tables: this.tables, index: this.#keys, appended, newest }, filters, to).catch(
      this.#damaged.refuse,
    );
  }

  keyAt(topic: string, key: string): Promise<number> {
    return this.#keys.committedOf(topic, key, this.#intake.nextOffset - 1);
  }

  recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    return this.#reads.recordsAt(offsets, maxBytes).catch(this.#damaged.refuse);
  }

  positionAt(time: number): Promise<Position> {
    return this.#reads.positionAt(time).catch(this.#damaged.refuse);
  }

  positionOf(offset: number): Promise<Position> {
    return this.#reads.positionOf(offset).catch(this.#damaged.refuse);
  }

  droppedAfter(after: number, filters: FilterSet): Dropped | Promise<Dropped> {
    const dropped = this.#reads.droppedAfter(after, filters);
    return dropped instanceof Promise ? dropped.catch(this.#damaged.refuse) : dropped;
  }

  endOf(epoch: number): number | undefined {
    return this.#epochs.endOf(epoch, this.head.offset);
  }

  endedAt(topic: string): number {
    return this.#intake.ended.endOf(topic);
  }

  epochOf(offset: number): number {
    return this.#epochs.epochOf(offset);
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    return this.#reads.topics(prefix, after, limit).catch(this.#damaged.refuse);
  }

  trim(offset: number): Promise<void> {
    return this.#retention.trim(Math.min(offset, this.head.offset));
  }

  /** Rewrites every sealed segment of whose bytes at least `share` may go by the rules of topics. */
  compact(share = 0): Promise<Compacted> {
    return this.#compactor.compact(share);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#stopBeat();
    await this.#held.settled();
    await this.#start.settled();
    await this.#compactor.stop();
    await this.#retention.stop();
    await this.#scrub.stop();
    const active = await this.#committer.close();
    if (active !== undefined && this.#committer.fenced === undefined) {
      this.#sealer.seal(active.segment, active.filling);
      this.#checkpoints.behind(active.segment);
    } else if (active !== undefined) {
      // an index would vouch for what a failed sync may have lost: the next start has to look (I9)
      await this.#preparer.leave(active.filling);
      await active.filling.file.close();
    }
    await this.#sealer.settled();
    await this.#checkpoints.close(this.#committer.fenced === undefined ? this.#segments.all.at(-1) : undefined);
    await this.#preparer.close();
    await this.#files.close();
    await this.#ownership.release();
  }

  #refuse(): Promise<never> {
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
  async #makeDurable(): Promise<void> {
    const append = this.#intake.begin();
    append.until = this.head.offset;
    this.#committer.wait(append, true);
    await append.promise;
  }

  #onSegment(segment: Segment): void {
    segment.lastTime = this.head.time;
    this.#segments.push(segment);
  }

  /** Hot. */
  #onCommit(batch: Batch): void {
    if (batch.count === 0) return;
    const records = batch.toRecords();
    this.hot.push(records);
    this.#intake.dedupe.commit(batch.lastOffset);
    this.head = { epoch: this.#epochs.current!.epoch, offset: batch.lastOffset, time: batch.lastTime };
    this.#refusedFull = false;
    this.#keys.committed(records);
    const { onCommitStats, clock } = this.#options;
    if (onCommitStats !== undefined) onCommitStats(clock.monotonic() - batch.since, batch.count, batch.length);
    for (const listener of this.#listeners) listener.onCommit(records);
    this.#held.goOn();
  }

  #onRefused(): void {
    this.#intake.rollback(this.head.offset, this.head.time);
    this.#refusedFull = true;
    this.#held.goOn();
  }

  #beat(): void {
    // readiness must come back although nobody publishes to a log that says it is full
    if (this.#start.full !== undefined) this.#recordStart().catch(error => this.#committer.fence(error));
    this.#committer.beat();
  }

  async #recordStart(): Promise<boolean> {
    const recorded = await this.#start.write();
    this.#tellSpace();
    return recorded;
  }

  /** Why the disk takes nothing: either may lack room, what the start owes, or the segments. */
  get #full(): string | undefined {
    return this.#start.full ?? this.#preparer.full;
  }

  #tellSpace(): void {
    const full = this.#full;
    if ((full !== undefined) === this.#toldFull) return;
    this.#toldFull = full !== undefined;
    if (full === undefined) {
      this.#refusedFull = false;
      this.#report({ level: 'info', kind: 'space_back', message: 'there is space on the disk again' });
    } else {
      this.#report({
        level: 'warn',
        kind: 'full',
        message: `the disk is full, what is appended may be refused: ${full}`,
      });
    }
  }

  #onFenced(reason: string, cause: unknown): void {
    this.#held.letAllGo();
    const detail = cause instanceof Error && cause.cause !== undefined ? ` (${String(cause.cause)})` : '';
    this.#report({ level: 'error', kind: 'fenced', message: `the log takes nothing more: ${reason}${detail}` });
  }

  #report(report: LogReport): void {
    this.#options.onReport?.(report);
  }
}
