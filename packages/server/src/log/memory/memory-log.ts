import { type FilterSet, type Message, TailraceError } from '@tailrace/protocol';
import { type Clock, systemClock } from '../clock.ts';
import { currentOf } from '../current.ts';
import { EpochList, nextEpoch } from '../epoch-list.ts';
import { HeldAppends } from '../held-appends.ts';
import { HotTail, recordsHeld } from '../hot-tail.ts';
import { encodedBound, Intake } from '../intake.ts';
import { KeyIndex } from '../key-index.ts';
import {
  type Appended,
  type AppendFailure,
  type Current,
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
import { type Tables, tablesOf } from '../tables.ts';

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
  readonly tables: Tables;
  head: Position;
  readonly #clock: Clock;
  readonly #options: MemoryLogOptions;
  readonly #intake: Intake;
  readonly #keys: KeyIndex;
  readonly #held: HeldAppends;
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
    this.tables = tablesOf(options.tableRules ?? []);
    this.#keys = new KeyIndex(this, options.keyIndexBytes ?? logDefaults.keyIndexBytes);
    this.#intake = new Intake(options, this.#clock, this.#keys, 0, 0);
    this.#held = new HeldAppends({
      index: this.#keys,
      head: () => this.head.offset,
      appended: () => this.#intake.nextOffset - 1,
      append: messages => this.#append(messages),
    });
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
      scrub: { bytes: 0, damages: 0, progress: 0 },
    };
  }

  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    if (this.#closed) return Promise.reject(new TailraceError('draining', 'the log is closed'));
    const { bytes = logDefaults.pending.bytes, records = logDefaults.pending.records } = this.#options.pending ?? {};
    let incoming = 0;
    let expects = false;
    for (const message of messages) {
      incoming += encodedBound(message);
      expects ||= message.expect !== undefined;
    }
    const held = this.#held;
    const pending = this.#records.length + held.records;
    if (pending > 0 && (this.#pendingBytes + held.bytes + incoming > bytes || pending + messages.length > records))
      return Promise.reject(new TailraceError('overloaded', 'too many records wait for their commit'));
    if ((expects || held.records > 0) && held.mustHold(messages)) return held.hold(messages, durability, incoming);
    return this.#append(messages);
  }

  #append(messages: readonly Message[]): Promise<readonly (Appended | AppendFailure)[]> {
    let incoming = 0;
    for (const message of messages) incoming += encodedBound(message);
    const append = this.#intake.begin();
    for (const message of messages) {
      const offset = this.#intake.admit(message, encodedBound(message), append);
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
      this.#intake.dedupe.commit(last.offset);
      this.#intake.ended.trim(this.floor);
      this.#keys.committed(batch);
      this.#commits++;
      this.#options.onCommitStats?.(this.#clock.monotonic() - this.#batchSince, records.length, bytes);
      for (const listener of this.#listeners) listener.onCommit(batch);
    }
    for (const append of appends) append.settle();
    this.#held.goOn();
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

  current(filters: FilterSet, to?: Position): Promise<Current> {
    const newest = (asked: FilterSet, upTo: number): Promise<Map<string, number[]>> => {
      const found = new Map<string, number[]>();
      for (const topic of asked.exact ?? this.hot.topics())
        if (asked.exact !== null || asked.matches(topic)) found.set(topic, this.hot.newest(topic, 1, upTo));
      return Promise.resolve(found);
    };
    const appended = (): number => this.#intake.nextOffset - 1;
    return currentOf({ log: this, tables: this.tables, index: this.#keys, appended, newest }, filters, to);
  }

  keyAt(topic: string, key: string): Promise<number> {
    return this.#keys.committedOf(topic, key, this.#intake.nextOffset - 1);
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

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopSweep();
    if (this.#appends.length > 0) this.#commit();
    await this.#held.settled();
    if (this.#appends.length > 0) this.#commit();
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
