import type { FilterSet, Message } from '@tailrace/protocol';
import { Admission } from '../admission.ts';
import { capabilitiesOf, type LogCapabilities } from '../capabilities.ts';
import { Deletions } from '../deletions.ts';
import { HotTail } from '../hot-tail.ts';
import type {
  Appended,
  AppendFailure,
  Current,
  Deleted,
  Dropped,
  EngineProbe,
  Log,
  LogMemory,
  LogStatus,
  Position,
  Slice,
  TailListener,
  TopicInfo,
} from '../log.ts';
import { logDefaults } from '../options.ts';
import { type Places, PlainPlaces } from '../places.ts';
import type { LogRecord, StoredDurability } from '../record.ts';
import type { OffsetRange } from '../report.ts';
import type { Tables } from '../tables.ts';
import { PlainTokens, type Tokens } from '../tokens.ts';
import type { Batch } from './commit/batch.ts';
import { LogAppends } from './commit/log-appends.ts';
import type { Compacted } from './compaction/compactor.ts';
import { UndeletedReads } from './deletion/undeleted-reads.ts';
import type { OpenedLog } from './opened-log.ts';
import { DamagedReads } from './read/damaged-reads.ts';
import { LogReads } from './read/log-reads.ts';
import { ReadsInFlight } from './read/reads-in-flight.ts';
import { Upkeep } from './upkeep/upkeep.ts';

/** A log in a directory of its own. `openDiskLog` makes one. */
export class DiskLog implements Log {
  readonly id: string;
  readonly capabilities: LogCapabilities = capabilitiesOf.disk;
  readonly hot: HotTail;
  readonly lost: readonly OffsetRange[];
  readonly tables: Tables;
  readonly deletions: Deletions = new Deletions();
  readonly tokens: Tokens = new PlainTokens(this);
  readonly places: Places = new PlainPlaces(this);
  readonly rewinds = 0;
  readonly live: undefined;
  readonly probes: readonly EngineProbe[] = [];
  head: Position;
  readonly #opened: OpenedLog;
  readonly #admission: Admission;
  readonly #appends: LogAppends;
  readonly #reads: UndeletedReads;
  readonly #damaged: DamagedReads;
  readonly #upkeep: Upkeep;
  readonly #listeners = new Set<TailListener>();
  #closing: Promise<void> | undefined;

  constructor(opened: OpenedLog) {
    const { options, clock, report, identity, epochs, recovered, segments, reader, reading } = opened;
    this.#opened = opened;
    this.id = identity.id;
    this.lost = opened.lost;
    const time = recovered.segments.at(-1)?.lastTime ?? 0;
    this.head = { epoch: epochs.epochOf(recovered.head), offset: recovered.head, time };
    this.hot = new HotTail(options.hotBytes ?? logDefaults.hotBytes, recovered.head);
    this.#admission = new Admission(this, options, clock, (messages, durability) =>
      this.#appends.append(messages, durability),
    );
    const { intake, held, tables } = this.#admission;
    this.tables = tables;
    this.#appends = new LogAppends(opened, {
      log: this,
      intake,
      onCommit: batch => this.#onCommit(batch),
      onRefused: () => {
        intake.rollback(this.head.offset, this.head.time);
        held.goOn();
      },
      onFenced: () => held.letAllGo(),
      onComplete: () => this.#upkeep.deletions.onSealed(),
    });
    const inFlight = new ReadsInFlight();
    const reads = new LogReads(this, { segments, reader, reading, sealer: this.#appends.sealer, inFlight });
    this.#reads = new UndeletedReads(reads, this.deletions);
    this.#damaged = new DamagedReads({ segments, gate: reader.gate, report });
    this.#upkeep = new Upkeep(opened, { log: this, intake, appends: this.#appends, inFlight });
  }

  /** What the constructor cannot wait for. */
  async start(): Promise<void> {
    await this.#appends.start();
    this.#upkeep.start();
  }

  get removals(): number {
    return this.#opened.segments.version;
  }

  get floor(): number {
    return this.#upkeep.retention.floor;
  }

  get status(): LogStatus {
    const { fenced, full, commits, pending } = this.#appends;
    return {
      state:
        this.#closing !== undefined ? 'closed' : fenced !== undefined ? 'fenced' : full !== undefined ? 'full' : 'open',
      reason: fenced ?? full,
      segments: this.#opened.segments.all.length,
      bytes: this.#opened.segments.bytes,
      pendingRecords: pending.pendingRecords,
      pendingBytes: pending.pendingBytes,
      commits,
      retentionWaitingBytes: this.#upkeep.retention.waitingBytes,
      deletionsPending: this.#upkeep.deletions.pending,
      damagedReads: this.#damaged.count,
      scrub: this.#upkeep.scrub,
    };
  }

  /** Newest offset that is synced: at most the head, less while records are only `written`. */
  get durableOffset(): number {
    return this.#appends.durable;
  }

  /** What is remembered of earlier publishes, for metrics. */
  get memory(): LogMemory {
    return this.#admission.memory;
  }

  /** Hot: one Promise a call, no closure and no Promise a record. */
  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    if (this.#closing !== undefined) return this.#appends.refuse();
    return this.#admission.append(messages, durability, this.#appends.pending);
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
    return this.#admission
      .current(filters, to, (asked, upTo) => this.#reads.newestByTopic(asked, 1, upTo))
      .catch(this.#damaged.refuse);
  }

  keyAt(topic: string, key: string): Promise<number> {
    return this.#admission.keyAt(topic, key);
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

  droppedAfter(after: number, filters: FilterSet, to: number = this.head.offset): Dropped | Promise<Dropped> {
    const dropped = this.#reads.droppedAfter(after, filters, to);
    return dropped instanceof Promise ? dropped.catch(this.#damaged.refuse) : dropped;
  }

  endOf(epoch: number): number | undefined {
    return this.#opened.epochs.endOf(epoch, this.head.offset);
  }

  upToDate(): undefined {
    return undefined;
  }

  endedAt(topic: string): number {
    return this.#admission.intake.ended.endOf(topic);
  }

  epochOf(offset: number): number {
    return this.#opened.epochs.epochOf(offset);
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    return this.#reads.topics(prefix, after, limit).catch(this.#damaged.refuse);
  }

  trim(offset: number): Promise<void> {
    return this.#upkeep.retention.trim(Math.min(offset, this.head.offset));
  }

  deleteTopic(topic: string): Promise<Deleted> {
    if (this.#closing !== undefined) return this.#appends.refuse();
    return this.#upkeep.deletions.delete(topic);
  }

  /** Rewrites every sealed segment of whose bytes at least `share` may go by the rules of topics. */
  compact(share = 0): Promise<Compacted> {
    return this.#upkeep.compact(share);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#admission.held.settled();
    await this.#upkeep.stop();
    await this.#appends.close();
    await this.#opened.housework.close();
    await this.#opened.files.close();
    await this.#opened.ownership.release();
  }

  /** Hot. */
  #onCommit(batch: Batch): void {
    const records = batch.toRecords(this.hot.memory);
    this.hot.push(records);
    this.head = { epoch: this.#opened.epochs.current!.epoch, offset: batch.lastOffset, time: batch.lastTime };
    this.#admission.committed(records);
    if (this.deletions.newest > 0) this.#upkeep.deletions.tidy();
    const { options, clock } = this.#opened;
    options.onCommitStats?.(clock.monotonic() - batch.since, batch.count, batch.length);
    for (const listener of this.#listeners) listener.onCommit(records);
    this.#admission.held.goOn();
  }
}
