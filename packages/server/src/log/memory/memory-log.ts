import { type FilterSet, type Message, TailraceError } from '@tailrace/protocol';
import { Admission } from '../admission.ts';
import { capabilitiesOf, type LogCapabilities } from '../capabilities.ts';
import { type Clock, systemClock } from '../clock.ts';
import { Deletions } from '../deletions.ts';
import { EpochList, nextEpoch } from '../epoch-list.ts';
import { HotTail, recordsHeld } from '../hot-tail.ts';
import { encodedBound } from '../intake.ts';
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
import { type CommonLogOptions, logDefaults } from '../options.ts';
import type { PendingAppend } from '../pending-append.ts';
import { type Places, PlainPlaces } from '../places.ts';
import { type Random, systemRandom } from '../random.ts';
import { LogRecord, type StoredDurability } from '../record.ts';
import { PlainBatch } from '../record-batch.ts';
import type { OffsetRange } from '../report.ts';
import { SteadyClock } from '../steady-clock.ts';
import type { Tables } from '../tables.ts';
import { PlainTokens, type Tokens } from '../tokens.ts';

export interface MemoryLogOptions extends CommonLogOptions {
  readonly clock?: Clock | undefined;
  readonly random?: Random | undefined;
}

/** A log that lives as long as its process: the hot tail is all there is, so it holds what retention allows. */
export function openMemoryLog(options: MemoryLogOptions = {}): MemoryLog {
  return new MemoryLog(options);
}

export class MemoryLog implements Log {
  readonly id: string;
  readonly capabilities: LogCapabilities = capabilitiesOf.memory;
  readonly hot: HotTail;
  readonly lost: readonly OffsetRange[] = [];
  readonly tables: Tables;
  readonly deletions: Deletions = new Deletions();
  readonly tokens: Tokens = new PlainTokens(this);
  readonly places: Places = new PlainPlaces(this);
  readonly rewinds = 0;
  readonly removals = 0;
  readonly live: undefined;
  readonly probes: readonly EngineProbe[] = [];
  head: Position;
  readonly #clock: Clock;
  readonly #options: MemoryLogOptions;
  readonly #admission: Admission;
  readonly #epochs: EpochList;
  readonly #listeners = new Set<TailListener>();
  readonly #stopSweep: () => void;
  readonly #steady: SteadyClock;
  #next = new NextCommit();
  #commits = 0;
  #closed = false;

  constructor(options: MemoryLogOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.id = (options.random ?? systemRandom).id(8);
    const { bytes } = options.retention ?? {};
    const hotBytes = options.hotBytes ?? logDefaults.hotBytes;
    this.hot = new HotTail(bytes === undefined ? hotBytes : Math.min(bytes, hotBytes), 0);
    this.#epochs = new EpochList([{ epoch: nextEpoch(0, this.#clock.now()), first: 1 }]);
    this.head = { epoch: this.#epochs.current!.epoch, offset: 0, time: 0 };
    this.#admission = new Admission(this, options, this.#clock, (messages, _, bytes) => this.#append(messages, bytes));
    this.tables = this.#admission.tables;
    this.#steady = new SteadyClock(this.#clock);
    this.#stopSweep = this.#clock.every(logDefaults.sweepMs, () => this.#sweep());
  }

  get floor(): number {
    return this.hot.base;
  }

  get status(): LogStatus {
    return {
      state: this.#closed ? 'closed' : 'open',
      reason: undefined,
      segments: 0,
      bytes: this.hot.bytes,
      pendingRecords: this.#next.pendingRecords,
      pendingBytes: this.#next.pendingBytes,
      commits: this.#commits,
      retentionWaitingBytes: 0,
      deletionsPending: 0,
      damagedReads: 0,
      scrub: { bytes: 0, damages: 0, progress: 0 },
    };
  }

  get memory(): LogMemory {
    return this.#admission.memory;
  }

  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    if (this.#closed) return Promise.reject(new TailraceError('draining', 'the log is closed'));
    return this.#admission.append(messages, durability, this.#next);
  }

  #append(messages: readonly Message[], bytes: number): Promise<readonly (Appended | AppendFailure)[]> {
    const { intake } = this.#admission;
    const next = this.#next;
    const append = intake.begin();
    for (const message of messages) {
      const offset = intake.admit(message, encodedBound(message), append);
      if (offset > 0) next.records.push(new LogRecord(offset, intake.time, message));
      else if ('error' in append.results[append.results.length - 1]!) break;
    }
    if (append.until <= this.head.offset) {
      append.settle();
      return append.promise;
    }
    next.pendingBytes += bytes;
    next.appends.push(append);
    // all that is appended in one turn of the event loop is one batch
    if (next.appends.length === 1) {
      next.since = this.#clock.monotonic();
      this.#clock.soon(() => this.#commit());
    }
    return append.promise;
  }

  #commit(): void {
    const { records, appends, pendingBytes, since } = this.#next;
    this.#next = new NextCommit();
    if (records.length > 0) {
      const last = records[records.length - 1]!;
      const batch = new PlainBatch(records);
      this.hot.push(batch);
      this.head = { epoch: this.#epochs.current!.epoch, offset: last.offset, time: last.time };
      this.#admission.committed(batch);
      this.#forgetBelowFloor();
      this.#commits++;
      this.#options.onCommitStats?.(this.#clock.monotonic() - since, records.length, pendingBytes);
      for (const listener of this.#listeners) listener.onCommit(batch);
    }
    for (const append of appends) append.settle();
    this.#admission.held.goOn();
  }

  tail(listener: TailListener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const from = Math.max(after, this.floor);
    const end = Math.max(from, Math.min(to, this.head.offset));
    const records: LogRecord[] = [];
    const next = end > from ? this.hot.read(from, end, filters, maxBytes, records) : from;
    const dropped = this.deletions.droppedAfter(from, filters);
    return Promise.resolve({ after: from, records, next, time: this.#timeAt(next), dropped });
  }

  droppedAfter(after: number, filters: FilterSet): Dropped {
    return this.deletions.droppedAfter(after, filters);
  }

  newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    const offsets: number[] = [];
    for (const topic of filters.exact ?? this.hot.topics())
      if (filters.exact !== null || filters.matches(topic)) offsets.push(...this.hot.newest(topic, count, to));
    return Promise.resolve(Float64Array.from(offsets).sort());
  }

  current(filters: FilterSet, to?: Position): Promise<Current> {
    const newest = (asked: FilterSet, upTo: number): Promise<Map<string, number[]>> => {
      const found = new Map<string, number[]>();
      for (const topic of asked.exact ?? this.hot.topics())
        if (asked.exact !== null || asked.matches(topic)) found.set(topic, this.hot.newest(topic, 1, upTo));
      return Promise.resolve(found);
    };
    return this.#admission.current(filters, to, newest);
  }

  keyAt(topic: string, key: string): Promise<number> {
    return this.#admission.keyAt(topic, key);
  }

  recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    return Promise.resolve(recordsHeld(this.hot, offsets, maxBytes));
  }

  positionAt(time: number): Promise<Position> {
    if (this.head.time < time) return Promise.resolve(this.head);
    const first = this.hot.firstSince(time);
    return this.positionOf((first ?? this.head.offset + 1) - 1);
  }

  positionOf(offset: number): Promise<Position> {
    return Promise.resolve({ epoch: this.epochOf(offset), offset, time: this.#timeAt(offset) });
  }

  endOf(epoch: number): number | undefined {
    return this.#epochs.endOf(epoch, this.head.offset);
  }

  upToDate(): undefined {
    return undefined;
  }

  endedAt(topic: string): number {
    return this.#admission.intake.ended.endOf(topic);
  }

  epochOf(offset: number): number {
    return this.#epochs.epochOf(offset);
  }

  topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    const names: string[] = [];
    for (const topic of this.hot.topics()) if (topic > after && topic.startsWith(prefix)) names.push(topic);
    names.sort(byCodeUnit);
    return Promise.resolve(
      names.slice(0, limit).map(topic => {
        const newest = this.hot.newestOf(topic)!;
        return { topic, lastOffset: newest.offset, lastTime: newest.time };
      }),
    );
  }

  trim(offset: number): Promise<void> {
    this.hot.trim(Math.min(offset, this.head.offset));
    this.#forgetBelowFloor();
    return Promise.resolve();
  }

  async deleteTopic(topic: string): Promise<Deleted> {
    const [upTo] = this.hot.newest(topic, 1, this.head.offset);
    if (upTo === undefined) return { upTo: undefined, pending: false };
    this.deletions.checkRoom();
    const position = await this.positionOf(upTo);
    this.hot.remove(topic, upTo);
    this.#admission.intake.forget(topic, upTo);
    this.deletions.add({ topic, upTo, table: this.tables.has(topic) });
    return { upTo: position, pending: false };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopSweep();
    if (this.#next.appends.length > 0) this.#commit();
    await this.#admission.held.settled();
    if (this.#next.appends.length > 0) this.#commit();
  }

  #forgetBelowFloor(): void {
    const { floor } = this;
    this.#admission.intake.ended.trim(floor);
    this.deletions.forget(({ upTo }) => upTo <= floor);
  }

  #timeAt(offset: number): number {
    if (offset >= this.head.offset) return this.head.time;
    return this.hot.timeAt(offset) ?? 0;
  }

  #sweep(): void {
    const { age } = this.#options.retention ?? {};
    if (age === undefined) return;
    const limit = this.#steady.now() - age;
    const first = this.hot.firstSince(limit);
    void this.trim((first ?? this.head.offset + 1) - 1);
  }
}

/** What is appended in one turn of the event loop. */
class NextCommit {
  readonly records: LogRecord[] = [];
  readonly appends: PendingAppend[] = [];
  pendingBytes = 0;
  /** When the first of it came. */
  since = 0;

  get pendingRecords(): number {
    return this.records.length;
  }
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
