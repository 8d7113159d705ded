import type { Clock } from '../../log/clock.ts';
import type { HotTail } from '../../log/hot-tail.ts';
import { type DedupeOptions, logDefaults } from '../../log/options.ts';
import type { BrokerPartition, Entry, PartitionState } from '../broker-partition.ts';
import { type PackedBatch, packedBatch } from '../packed-batch.ts';
import type { PackedRecord } from '../packed-record.ts';
import type { Directory } from './directory.ts';
import { readEntry } from './entry.ts';
import type { Judge } from './judge.ts';
import type { Known } from './known.ts';
import { reach, type Verdict, Verdicts } from './verdicts.ts';

export interface FoldParts {
  readonly partition: BrokerPartition;
  readonly clock: Clock;
  readonly dedupe: DedupeOptions;
  readonly known: Known;
  readonly hot: HotTail;
  readonly judge: Judge;
  readonly directory: Directory;
  /** Of this start of this server. */
  readonly node: string;
  /** An entry of this node has come back. */
  readonly onOwn: (number: number, verdict: Verdict, offset: number, time: number) => void;
  /** What is at this offset is damaged, or of somebody else. */
  readonly onDamage: (offset: number) => void;
}

/** Bytes of one read of a start. */
const startBytes = 4 * 1024 * 1024;
/** Of what the tail brings, about so much is one batch. */
const batchBytes = 1024 * 1024;

/** What this node makes of the entries, one after another: which count, and all that follows from those. */
export class Fold {
  readonly #parts: FoldParts;
  #verdicts: Verdicts;

  constructor(parts: FoldParts) {
    this.#parts = parts;
    this.#verdicts = this.#verdictsFrom(-1);
  }

  /** Begins with what the broker says, and the newest entries of it. */
  async begin(state: PartitionState): Promise<void> {
    const { known, hot, judge, directory } = this.#parts;
    for (let length = (await this.#remembered(state)) + reach; ; length *= 2) {
      const from = Math.max(state.floor, state.head - length);
      known.take(state);
      known.floor = state.floor;
      known.offset = from;
      known.time = 0;
      known.setHead(from, 0);
      hot.reset(from);
      judge.clear();
      directory.clear(from);
      const isAll = from === state.floor;
      this.#verdicts = this.#verdictsFrom(isAll ? -1 : from);
      const isSure = await this.#readOn(state.head, isAll ? from : from + reach);
      if (isSure) return;
    }
  }

  /** Takes what the tail brings, and hands on what counts. */
  take(entries: readonly Entry[], onBatch: (batch: PackedBatch) => void): void {
    let begin = 0;
    let bytes = 0;
    for (let i = 0; i < entries.length; i++) {
      bytes += entries[i]!.bytes.length;
      if (bytes < batchBytes && i < entries.length - 1) continue;
      const batch = this.#hold(this.#decide(entries.slice(begin, i + 1)).records);
      if (batch !== undefined) onBatch(batch);
      begin = i + 1;
      bytes = 0;
    }
  }

  #verdictsFrom(from: number): Verdicts {
    const { known } = this.#parts;
    return new Verdicts(() => known.epochs, from);
  }

  /** Of how many of the newest offsets the ids are remembered. */
  async #remembered({ head }: PartitionState): Promise<number> {
    const { partition, clock, dedupe } = this.#parts;
    const { ids = logDefaults.dedupe.ids, ageMs = logDefaults.dedupe.ageMs } = dedupe;
    const { limit = logDefaults.dedupe.limit } = dedupe;
    const young = await partition.firstSince(clock.now() - ageMs);
    return Math.max(reach, ids, Math.min(limit, young === undefined ? 0 : head - young + 1));
  }

  /** Reads up to `to`; of what comes up to `sureFrom` nobody can be sure yet. False when that is so of what follows too. */
  async #readOn(to: number, sureFrom: number): Promise<boolean> {
    const { partition, known, hot, directory } = this.#parts;
    while (known.offset < to) {
      const { entries, next } = await partition.read(known.offset, to, startBytes);
      const sure = entries.findIndex(({ offset }) => offset > sureFrom);
      const { records } = this.#decide(sure === -1 ? entries : entries.slice(0, sure));
      const last = records[records.length - 1];
      if (last !== undefined) {
        known.setHead(last.offset, last.time);
        hot.base = last.offset;
        directory.since = last.offset;
      }
      if (sure !== -1) {
        const decided = this.#decide(entries.slice(sure));
        if (decided.isOpen) return false;
        this.#hold(decided.records);
      }
      known.offset = Math.max(next, known.offset);
    }
    return true;
  }

  /** Hot. */
  #decide(entries: readonly Entry[]): { readonly records: PackedRecord[]; readonly isOpen: boolean } {
    const { known, node, onOwn, onDamage } = this.#parts;
    const records: PackedRecord[] = [];
    let isOpen = false;
    for (const raw of entries) {
      known.offset = raw.offset;
      const entry = readEntry(raw);
      if (entry === undefined) {
        onDamage(raw.offset);
        continue;
      }
      if (entry.time > known.time) known.time = entry.time;
      const { time } = known;
      const verdict = this.#verdicts.judge(entry, time);
      if (verdict.kind === 'open') isOpen = true;
      if (verdict.kind === 'taken') records.push({ offset: entry.offset, time, bytes: entry.bytes });
      if (entry.node === node) onOwn(entry.number, verdict, entry.offset, time);
    }
    return { records, isOpen };
  }

  /** Hot. */
  #hold(records: readonly PackedRecord[]): PackedBatch | undefined {
    if (records.length === 0) return undefined;
    const { known, hot, judge, directory } = this.#parts;
    const batch = packedBatch(records);
    hot.push(batch);
    known.setHead(batch.last, records[records.length - 1]!.time);
    judge.take(batch);
    directory.take(batch);
    return batch;
  }
}
