import { type FilterSet, type Message, TailraceError } from '@tailrace/protocol';
import { type Clock, systemClock } from '../clock.ts';
import { EpochList, nextEpoch } from '../epoch-list.ts';
import { HotTail } from '../hot-tail.ts';
import { encodedBound, Intake } from '../intake.ts';
import type { Appended, AppendFailure, Log, LogStatus, Position, Slice, TailListener, TopicInfo } from '../log.ts';
import { type CommonLogOptions, logDefaults } from '../options.ts';
import { type Random, systemRandom } from '../random.ts';
import type { LogRecord, StoredDurability } from '../record.ts';
import type { LogReport, OffsetRange } from '../report.ts';
import { ActiveIndex } from './active-index.ts';
import type { Batch } from './batch.ts';
import { Committer } from './committer.ts';
import type { Disk, Ownership } from './disk.ts';
import { readEpochs, writeEpochs } from './epochs-file.ts';
import { epochsFromHeaders } from './epochs-from-headers.ts';
import { type Identity, newIdentity, readIdentity, writeIdentity } from './identity.ts';
import { IndexCache } from './index-cache.ts';
import { nodeDisk } from './node-disk.ts';
import { OpenFiles } from './open-files.ts';
import { Preparer } from './preparer.ts';
import { Reader } from './reader.ts';
import { type Recovered, recover } from './recovery.ts';
import { remember } from './remember.ts';
import { Retention } from './retention.ts';
import { IndexDamaged, type IndexReading } from './sealed-index.ts';
import { Sealer } from './sealer.ts';
import type { Segment } from './segment.ts';
import { segmentHeaderBytes } from './segment-header.ts';
import { SegmentList } from './segment-list.ts';
import { parseSegmentName } from './segment-name.ts';
import { newestOfTopics, topicsOf } from './topic-reads.ts';

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
}

/** How often what was only `written` is synced and an idle log marks what is durable, in ms. */
const beatMs = 500;

/**
 * Opens the log in a directory: takes it over, recovers it, and begins a new epoch. Rejects when another process owns
 * the directory, and with LogDamaged when something that was durable is gone (I10).
 */
export async function openDiskLog(options: DiskLogOptions): Promise<DiskLog> {
  const disk = options.disk ?? nodeDisk;
  const clock = options.clock ?? systemClock;
  const report = options.onReport ?? (() => undefined);
  const { directory } = options;
  await disk.makeDirectory(directory);
  const ownership = await disk.own(directory);
  try {
    if (ownership.tookOver)
      report({ level: 'info', kind: 'owner_replaced', message: `the last owner of ${directory} did not close it` });
    const started = clock.monotonic();
    const identity = await openIdentity(disk, directory, options.random ?? systemRandom);
    const epochs = (await readEpochs(disk, directory)) ?? (await epochsFromHeaders(disk, directory));
    const acceptLoss = options.acceptLoss ?? false;
    const files = new OpenFiles(disk);
    const segments = new SegmentList();
    const reader = new Reader(segments);
    const reading = { cache: new IndexCache(), gate: reader.gate };
    const recovered = await recover({
      disk,
      files,
      reading,
      clock,
      directory,
      identity,
      epochs,
      acceptLoss,
      report,
    });
    const list = new EpochList(epochs?.starts ?? []);
    const epoch = nextEpoch(list.current?.epoch ?? 0, clock.now());
    list.begin(epoch, recovered.head + 1);
    const lost = [...(epochs?.lost ?? []), ...recovered.lost];
    await writeEpochs(disk, directory, { starts: list.starts, nextSegment: recovered.nextSegment, lost });
    const log = new DiskLog({ ...options, disk, clock }, ownership, identity, list, recovered, {
      files,
      segments,
      reader,
      reading,
      lost,
    });
    await log.start();
    const ms = Math.round(clock.monotonic() - started);
    const count = recovered.segments.length;
    report({ level: 'info', kind: 'recovered', message: `${count} segments, head ${recovered.head}, ${ms} ms` });
    return log;
  } catch (error) {
    await ownership.release();
    throw error;
  }
}

async function openIdentity(disk: Disk, directory: string, random: Random): Promise<Identity> {
  const known = await readIdentity(disk, directory);
  if (known !== undefined) return known;
  const orphan = (await disk.list(directory)).find(name => parseSegmentName(name) !== undefined);
  if (orphan !== undefined)
    throw new Error(`${directory} has segments such as ${orphan} but no log.json: run \`tailrace log repair\` on it`);
  const identity = newIdentity(random);
  await writeIdentity(disk, directory, identity);
  return identity;
}

/** What recovery and the running log read through. */
interface ReadingParts {
  readonly files: OpenFiles;
  readonly segments: SegmentList;
  readonly reader: Reader;
  readonly reading: IndexReading;
  readonly lost: readonly OffsetRange[];
}

export class DiskLog implements Log {
  readonly id: string;
  readonly hot: HotTail;
  readonly lost: readonly OffsetRange[];
  head: Position;
  readonly #options: DiskLogOptions & { readonly disk: Disk; readonly clock: Clock };
  readonly #ownership: Ownership;
  readonly #epochs: EpochList;
  readonly #intake: Intake;
  readonly #segments: SegmentList;
  readonly #files: OpenFiles;
  readonly #reader: Reader;
  readonly #preparer: Preparer;
  readonly #committer: Committer;
  readonly #sealer: Sealer;
  readonly #retention: Retention;
  readonly #listeners = new Set<TailListener>();
  readonly #pendingBytesMax: number;
  readonly #pendingRecordsMax: number;
  #stopBeat: () => void = () => undefined;
  #refusedFull = false;
  #closing: Promise<void> | undefined;

  constructor(
    options: DiskLogOptions & { readonly disk: Disk; readonly clock: Clock },
    ownership: Ownership,
    identity: Identity,
    epochs: EpochList,
    recovered: Recovered,
    { files, segments, reader, reading, lost }: ReadingParts,
  ) {
    const { disk, clock, directory } = options;
    this.#options = options;
    this.#ownership = ownership;
    this.#epochs = epochs;
    this.id = identity.id;
    this.lost = lost;
    this.#segments = segments;
    this.#files = files;
    for (const segment of recovered.segments) segments.push(segment);
    const time = recovered.segments[recovered.segments.length - 1]?.lastTime ?? 0;
    this.head = { epoch: epochs.epochOf(recovered.head), offset: recovered.head, time };
    this.hot = new HotTail(options.hotBytes ?? logDefaults.hotBytes, recovered.head);
    this.#intake = new Intake(options, clock, recovered.head, time);
    this.#reader = reader;
    this.#pendingBytesMax = options.pending?.bytes ?? logDefaults.pending.bytes;
    this.#pendingRecordsMax = options.pending?.records ?? logDefaults.pending.records;
    const segmentBytes = options.segmentBytes ?? logDefaults.segmentBytes;
    this.#preparer = new Preparer(
      disk,
      clock,
      directory,
      segmentBytes,
      full => this.#onSpace(full),
      error => this.#committer.fence(error),
    );
    const { current } = epochs;
    this.#committer = new Committer(
      {
        disk,
        files,
        clock,
        directory,
        ownership,
        preparer: this.#preparer,
        segmentBytes,
        firstHeader: {
          generation: 0,
          number: recovered.nextSegment,
          epoch: current!.epoch,
          firstOffset: recovered.head + 1,
          created: clock.now(),
          previousCrc: recovered.segments[recovered.segments.length - 1]?.lastCrc ?? 0,
          logId: identity.id,
          secret: identity.secret,
          framesAt: segmentHeaderBytes,
        },
        hooks: {
          onSegment: segment => this.#onSegment(segment),
          onFull: (segment, filling) => this.#sealer.seal(segment, filling),
          onCommit: batch => this.#onCommit(batch),
          onRefused: () => this.#onRefused(),
          onFenced: (reason, cause) => this.#onFenced(reason, cause),
        },
      },
      recovered.head,
    );
    this.#sealer = new Sealer({
      disk,
      clock,
      directory,
      reading,
      preparer: this.#preparer,
      report: report => this.#report(report),
    });
    this.#retention = new Retention({
      disk,
      clock,
      cache: reading.cache,
      options: options.retention ?? {},
      segments: this.#segments,
      sealer: this.#sealer,
      roll: () => this.#committer.roll(),
      report: report => this.#report(report),
      floor: (recovered.segments[0]?.firstOffset ?? recovered.head + 1) - 1,
      onFloor: floor => this.#intake.ended.trim(floor),
    });
  }

  /** What the constructor cannot wait for. */
  async start(): Promise<void> {
    await remember(this.#segments.all, this.#reader.gate, this.#intake, this.#options, report => this.#report(report));
    for (const segment of this.#segments.all)
      if (segment.index instanceof ActiveIndex) this.#sealer.seal(segment, undefined);
    this.#preparer.start();
    this.#retention.start();
    this.#stopBeat = this.#options.clock.every(beatMs, () => this.#committer.beat());
  }

  get floor(): number {
    return this.#retention.floor;
  }

  get status(): LogStatus {
    const { fenced, pendingBytes, pendingRecords, commits } = this.#committer;
    const full = this.#refusedFull ? this.#preparer.full : undefined;
    return {
      state:
        this.#closing !== undefined ? 'closed' : fenced !== undefined ? 'fenced' : full !== undefined ? 'full' : 'open',
      reason: fenced?.reason ?? full,
      segments: this.#segments.all.length,
      bytes: this.#segments.bytes,
      pendingRecords,
      pendingBytes,
      commits,
    };
  }

  /** Newest offset that is synced: at most the head, less while records are only `written`. */
  get durableOffset(): number {
    return this.#committer.durable;
  }

  /** What is remembered of earlier publishes, for metrics. */
  get memory(): { ids: number; producers: number; dedupeCutShort: number; endedTopics: number; endedCutShort: number } {
    const { dedupe, ended } = this.#intake;
    return {
      ids: dedupe.idCount,
      producers: dedupe.producerCount,
      dedupeCutShort: dedupe.cutShort,
      endedTopics: ended.size,
      endedCutShort: ended.dropped,
    };
  }

  /** Hot: one Promise a call, no closure and no Promise a record. */
  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    const committer = this.#committer;
    if (this.#closing !== undefined || committer.fenced !== undefined) return this.#refuse();
    let incoming = 0;
    for (let i = 0; i < messages.length; i++) incoming += encodedBound(messages[i]!);
    if (
      committer.pendingRecords > 0 &&
      (committer.pendingBytes + incoming > this.#pendingBytesMax ||
        committer.pendingRecords + messages.length > this.#pendingRecordsMax)
    ) {
      return Promise.reject(
        new TailraceError('overloaded', `${committer.pendingRecords} records wait for their commit`, {
          retryAfter: 100,
        }),
      );
    }
    const sync = durability === 'fsync';
    const append = this.#intake.begin();
    for (let i = 0; i < messages.length; i++) {
      const message = messages[i]!;
      const offset = this.#intake.admit(message, append);
      if (offset > 0) committer.add(message, offset, this.#intake.time, sync);
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

  async read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const end = Math.min(to, this.head.offset);
    const from = Math.max(after, this.floor);
    if (from >= end) return { after: from, records: [], next: from, time: await this.#timeOf(from) };
    if (from >= this.hot.base) return this.#readHot(from, from, end, filters, maxBytes);
    const slice = await this.#readDisk(from, Math.min(end, this.hot.base), filters, maxBytes);
    let budget = maxBytes;
    for (const record of slice.records) budget -= record.weight;
    if (slice.after > from || slice.next >= end || (budget <= 0 && slice.records.length > 0)) return slice;
    // the hot tail goes on where the disk has been read up to
    const rest = await this.read(slice.next, to, filters, budget);
    if (rest.after > slice.next) return slice;
    return { after: from, records: [...slice.records, ...rest.records], next: rest.next, time: rest.time };
  }

  async last(filters: FilterSet, count: number, to: number): Promise<readonly LogRecord[]> {
    const end = Math.min(to, this.head.offset);
    return this.#withIndexes(() => newestOfTopics(this.#segments, this.#reader.gate, this.hot, filters, count, end));
  }

  async positionAt(time: number): Promise<Position> {
    if (this.head.time < time) return this.head;
    const hot = this.hot.firstSince(time);
    // when the very first record in memory is new enough, older ones on disk may be too
    if (hot !== undefined && (this.hot.timeAt(hot - 1) ?? time) < time) return this.positionOf(hot - 1);
    const first = (await this.#withIndexes(() => this.#reader.firstSince(time))) ?? hot ?? this.head.offset + 1;
    return this.positionOf(Math.max(first - 1, this.floor));
  }

  async positionOf(offset: number): Promise<Position> {
    return { epoch: this.epochOf(offset), offset, time: await this.#timeOf(offset) };
  }

  endOf(epoch: number): number | undefined {
    return this.#epochs.endOf(epoch, this.head.offset);
  }

  epochOf(offset: number): number {
    return this.#epochs.epochOf(offset);
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    return this.#withIndexes(() => topicsOf(this.#segments, prefix, after, limit));
  }

  trim(offset: number): Promise<void> {
    return this.#retention.trim(Math.min(offset, this.head.offset));
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
    await this.#retention.stop();
    const current = await this.#committer.close();
    if (current !== undefined && this.#committer.fenced === undefined)
      this.#sealer.seal(current.segment, current.filling);
    else if (current !== undefined) {
      // an index would vouch for what a failed sync may have lost: the next start has to look (I9)
      await this.#preparer.leave(current.filling);
      await current.filling.file.close();
    }
    await this.#sealer.settled();
    await this.#preparer.close();
    await this.#files.close();
    await this.#ownership.release();
  }

  #readHot(after: number, from: number, to: number, filters: FilterSet, maxBytes: number): Slice | Promise<Slice> {
    const records: LogRecord[] = [];
    const next = this.hot.read(from, to, filters, maxBytes, records);
    const time = next >= this.head.offset ? this.head.time : this.hot.timeAt(next);
    if (time !== undefined) return { after, records, next, time };
    return this.#timeOf(next).then(time => ({ after, records, next, time }));
  }

  async #readDisk(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    for (;;) {
      const from = Math.max(after, this.floor);
      try {
        return await this.#withIndexes(() => this.#reader.read(from, Math.max(from, to), filters, maxBytes));
      } catch (error) {
        // retention may have taken the segment away before it was opened
        if (this.floor <= from) throw error;
      }
    }
  }

  async #timeOf(offset: number): Promise<number> {
    if (offset >= this.head.offset) return this.head.time;
    return this.hot.timeAt(offset) ?? (await this.#withIndexes(() => this.#reader.timeOf(offset)));
  }

  /** Runs a read; when it meets a damaged index, builds that anew from the segment and runs the read again. */
  async #withIndexes<T>(read: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await read();
      } catch (error) {
        if (!(error instanceof IndexDamaged)) throw error;
        await this.#sealer.rebuild(error.segment, error.message);
      }
    }
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

  #onSegment(segment: Segment): void {
    segment.lastTime = this.head.time;
    this.#segments.push(segment);
  }

  /** Hot. */
  #onCommit(batch: Batch): void {
    if (batch.count === 0) return;
    const records = batch.toRecords();
    this.hot.push(records);
    this.head = { epoch: this.#epochs.current!.epoch, offset: batch.lastOffset, time: batch.lastTime };
    this.#refusedFull = false;
    const { onCommitStats, clock } = this.#options;
    if (onCommitStats !== undefined) onCommitStats(clock.monotonic() - batch.since, batch.count, batch.length);
    for (const listener of this.#listeners) listener.onCommit(records);
  }

  #onRefused(): void {
    this.#intake.rollback(this.head.offset, this.head.time);
    this.#refusedFull = true;
  }

  #onSpace(full: string | undefined): void {
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
    const detail = cause instanceof Error && cause.cause !== undefined ? ` (${String(cause.cause)})` : '';
    this.#report({ level: 'error', kind: 'fenced', message: `the log takes nothing more: ${reason}${detail}` });
  }

  #report(report: LogReport): void {
    this.#options.onReport?.(report);
  }
}
