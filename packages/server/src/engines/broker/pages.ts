import { TailraceError } from '@tailrace/protocol';
import { Gate } from '../../log/disk/read/gate.ts';
import type { BrokerPartition, Entry } from '../broker-partition.ts';
import type { PackedRecord } from '../packed-record.ts';
import { type BrokerEntry, readEntry } from './entry.ts';
import type { Known } from './known.ts';
import { reach, Verdicts } from './verdicts.ts';

/** Records of a stretch of the partition: those that count. */
export interface Page {
  /** Where it truly begins: greater than asked when the broker has removed what lay between. */
  readonly after: number;
  readonly records: readonly PackedRecord[];
  /** Everything in (after, next] is in `records`. */
  readonly next: number;
  /** See `PartitionRead`. */
  readonly missing?: number | undefined;
}

/** Where pages come from. */
export interface PageSource {
  /** About `maxBytes` of what is in (after, to]. Ends before what is damaged; rejects with `log_damaged` when that is first. */
  read(after: number, to: number, maxBytes: number): Promise<Page>;
}

/** Reads that are under way at once on this node, however many subscribers ask. */
const readsMax = 2;
/** Bytes of a read that looks at what came before a page. */
const contextBytes = 512 * 1024;
/** Entries of the newest pages that are kept for whoever reads on behind them. */
const contextEntries = 4096;
const contextKeptBytes = 4 * 1024 * 1024;
const contextsMost = 4;

/** Reads of the partition of what is in no memory, decided as the tail decides. */
export class Pages implements PageSource {
  readonly #partition: BrokerPartition;
  readonly #known: Known;
  readonly #gate = new Gate(readsMax);
  /** By where they end: (from, to]. */
  readonly #contexts = new Map<number, { readonly from: number; readonly entries: readonly BrokerEntry[] }>();

  constructor(partition: BrokerPartition, known: Known) {
    this.#partition = partition;
    this.#known = known;
  }

  read(after: number, to: number, maxBytes: number): Promise<Page> {
    return this.#gate.run(() => this.#read(after, to, maxBytes));
  }

  /** What the epochs or the entries are is not what it was. */
  clear(): void {
    this.#contexts.clear();
  }

  async #read(after: number, to: number, maxBytes: number): Promise<Page> {
    const read = await this.#partition.read(after, to, maxBytes);
    const { entries, next } = wholeEntries(read.entries, read.next);
    let from = read.after;
    for (const { offset, seen } of entries) if (offset - seen <= reach) from = Math.min(from, seen);
    for (;;) {
      const context = from < read.after ? await this.#context(from, read.after) : { from: read.after, entries: [] };
      // what is not there any more cannot be known by anybody
      const isComplete = context.from > from || context.from <= this.#known.floor;
      const page = this.#judge(context.entries, entries, isComplete ? -1 : context.from);
      if (typeof page !== 'number') {
        this.#remember(context, entries, next);
        return { after: read.after, records: page, next };
      }
      from = Math.min(page, from - 1);
    }
  }

  /** The records; or from where the entries have to be known to tell. */
  #judge(before: readonly BrokerEntry[], entries: readonly BrokerEntry[], from: number): PackedRecord[] | number {
    const verdicts = new Verdicts(() => this.#known.epochs, from);
    let time = 0;
    for (const entry of before) {
      time = Math.max(time, entry.time);
      verdicts.judge(entry, time);
    }
    const records: PackedRecord[] = [];
    for (const entry of entries) {
      time = Math.max(time, entry.time);
      const verdict = verdicts.judge(entry, time);
      if (verdict.kind === 'open') return verdict.from;
      if (verdict.kind === 'taken') records.push({ offset: entry.offset, time, bytes: entry.bytes });
    }
    return records;
  }

  async #context(
    from: number,
    to: number,
  ): Promise<{ readonly from: number; readonly entries: readonly BrokerEntry[] }> {
    const kept = this.#contexts.get(to);
    if (kept !== undefined && kept.from <= from) return kept;
    const entries: BrokerEntry[] = [];
    let begins = from;
    for (let at = from; at < to; ) {
      const read = await this.#partition.read(at, to, contextBytes);
      if (at === from) begins = read.after;
      for (const raw of read.entries) {
        const entry = readEntry(raw);
        if (entry !== undefined) entries.push(entry);
      }
      at = Math.max(read.next, at + 1);
    }
    return { from: begins, entries };
  }

  #remember(
    context: { readonly from: number; readonly entries: readonly BrokerEntry[] },
    entries: readonly BrokerEntry[],
    next: number,
  ): void {
    if (entries.length === 0) return;
    const all = context.entries.length === 0 ? entries : [...context.entries, ...entries];
    const newest = newestOf(all);
    const from = newest.length === all.length ? context.from : all[all.length - newest.length - 1]!.offset;
    this.#contexts.delete(next);
    this.#contexts.set(next, { from, entries: newest });
    if (this.#contexts.size > contextsMost) this.#contexts.delete(this.#contexts.keys().next().value!);
  }
}

/** As many as are kept, and one however large it is. */
function newestOf(entries: readonly BrokerEntry[]): readonly BrokerEntry[] {
  let bytes = 0;
  let first = entries.length;
  while (first > 0 && entries.length - first < contextEntries) {
    bytes += entries[first - 1]!.bytes.length;
    if (bytes > contextKeptBytes && first < entries.length) break;
    first--;
  }
  return entries.slice(first);
}

/** Those before the first that is damaged. */
function wholeEntries(raw: readonly Entry[], next: number): { entries: BrokerEntry[]; next: number } {
  const entries: BrokerEntry[] = [];
  for (const one of raw) {
    const entry = readEntry(one);
    if (entry === undefined) {
      if (entries.length === 0) throw new DamagedEntry(one.offset);
      return { entries, next: one.offset - 1 };
    }
    entries.push(entry);
  }
  return { entries, next };
}

/** An entry that Tailrace did not write, or not so. */
export class DamagedEntry extends TailraceError {
  readonly offset: number;

  constructor(offset: number) {
    super(
      'log_damaged',
      `the entry at offset ${offset} is damaged or was not written by Tailrace: nothing else may write to its partition`,
    );
    this.offset = offset;
  }
}
