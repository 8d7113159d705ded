import { type FilterSet, type Message, TailraceError } from '@tailrace/protocol';
import { type Clock, systemClock } from '../clock.ts';
import { EpochList, nextEpoch } from '../epoch-list.ts';
import { HotTail, recordsHeld } from '../hot-tail.ts';
import { encodedBound, Intake } from '../intake.ts';
import {
  type Appended,
  type AppendFailure,
  type Dropped,
  type Log,
  type LogCapabilities,
  type LogStatus,
  nothingDropped,
  type Position,
  type Slice,
  type TailListener,
  type TopicInfo,
} from '../log.ts';
import { type CommonLogOptions, logDefaults } from '../options.ts';
import type { PendingAppend } from '../pending-append.ts';
import { type Random, systemRandom } from '../random.ts';
import { LogRecord, type StoredDurability } from '../record.ts';
import { PlainBatch } from '../record-batch.ts';
import type { OffsetRange } from '../report.ts';

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
  readonly capabilities: LogCapabilities = { durabilities: [] };
  readonly hot: HotTail;
  readonly lost: readonly OffsetRange[] = [];
  head: Position;
  readonly #clock: Clock;
  readonly #options: MemoryLogOptions;
  readonly #intake: Intake;
  readonly #epochs: EpochList;
  readonly #listeners = new Set<TailListener>();
  readonly #stopSweep: () => void;
  #records: LogRecord[] = [];
  #appends: PendingAppend[] = [];
  #pendingBytes = 0;
  #batchSince = 0;
  #commits = 0;
  #closed = false;

  constructor(options: MemoryLogOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.id = (options.random ?? systemRandom).id(8);
    const { bytes } = options.retention ?? {};
    const hotBytes = options.hotBytes ?? logDefaults.hotBytes;
    this.hot = new HotTail(bytes === undefined ? hotBytes : Math.min(bytes, hotBytes), 0);
    this.#intake = new Intake(options, this.#clock, 0, 0);
    this.#epochs = new EpochList([{ epoch: nextEpoch(0, this.#clock.now()), first: 1 }]);
    this.head = { epoch: this.#epochs.current!.epoch, offset: 0, time: 0 };
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
      pendingRecords: this.#records.length,
      pendingBytes: this.#pendingBytes,
      commits: this.#commits,
      damagedReads: 0,
    };
  }

  append(messages: readonly Message[], _durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    if (this.#closed) return Promise.reject(new TailraceError('draining', 'the log is closed'));
    const { bytes = logDefaults.pending.bytes, records = logDefaults.pending.records } = this.#options.pending ?? {};
    let incoming = 0;
    for (const message of messages) incoming += encodedBound(message);
    if (
      this.#records.length > 0 &&
      (this.#pendingBytes + incoming > bytes || this.#records.length + messages.length > records)
    )
      return Promise.reject(new TailraceError('overloaded', 'too many records wait for their commit'));
    const append = this.#intake.begin();
    for (const message of messages) {
      const offset = this.#intake.admit(message, append);
      if (offset > 0) this.#records.push(new LogRecord(offset, this.#intake.time, message));
      else if ('error' in append.results[append.results.length - 1]!) break;
    }
    if (append.until <= this.head.offset) {
      append.settle();
      return append.promise;
    }
    this.#pendingBytes += incoming;
    this.#appends.push(append);
    // all that is appended in one turn of the event loop is one batch
    if (this.#appends.length === 1) {
      this.#batchSince = this.#clock.monotonic();
      this.#clock.soon(() => this.#commit());
    }
    return append.promise;
  }

  #commit(): void {
    const records = this.#records;
    const appends = this.#appends;
    const bytes = this.#pendingBytes;
    this.#records = [];
    this.#appends = [];
    this.#pendingBytes = 0;
    if (records.length > 0) {
      const last = records[records.length - 1]!;
      const batch = new PlainBatch(records);
      this.hot.push(batch);
      this.head = { epoch: this.#epochs.current!.epoch, offset: last.offset, time: last.time };
      this.#intake.ended.trim(this.floor);
      this.#commits++;
      this.#options.onCommitStats?.(this.#clock.monotonic() - this.#batchSince, records.length, bytes);
      for (const listener of this.#listeners) listener.onCommit(batch);
    }
    for (const append of appends) append.settle();
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
    return Promise.resolve({ after: from, records, next, time: this.#timeAt(next), dropped: nothingDropped });
  }

  droppedAfter(): Dropped {
    return nothingDropped;
  }

  newest(filters: FilterSet, count: number, to: number): Promise<Float64Array> {
    const offsets: number[] = [];
    for (const topic of filters.exact ?? this.hot.topics())
      if (filters.exact !== null || filters.matches(topic)) offsets.push(...this.hot.newest(topic, count, to));
    return Promise.resolve(Float64Array.from(offsets).sort());
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

  endedAt(topic: string): number {
    return this.#intake.ended.endOf(topic);
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
    this.#intake.ended.trim(this.floor);
    return Promise.resolve();
  }

  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#stopSweep();
      if (this.#appends.length > 0) this.#commit();
    }
    return Promise.resolve();
  }

  #timeAt(offset: number): number {
    if (offset >= this.head.offset) return this.head.time;
    return this.hot.timeAt(offset) ?? 0;
  }

  #sweep(): void {
    const { age } = this.#options.retention ?? {};
    if (age === undefined) return;
    const limit = this.#clock.now() - age;
    const first = this.hot.firstSince(limit);
    void this.trim((first ?? this.head.offset + 1) - 1);
  }
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
