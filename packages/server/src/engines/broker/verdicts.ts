import type { EpochList } from '../../log/epoch-list.ts';
import type { LogRecord } from '../../log/record.ts';
import { isPlain, packedTopic, unpackRecord } from '../packed-record.ts';
import type { BrokerEntry } from './entry.ts';

/** What an entry comes to. All but `taken` are void: they are given to nobody, now or later. */
export type Verdict =
  | { readonly kind: 'taken' }
  /** A record with the same id, or producer and sequence, is at `offset`. */
  | { readonly kind: 'duplicate'; readonly offset: number; readonly time: number }
  /** The record at `offset` ended the topic. */
  | { readonly kind: 'ended'; readonly offset: number }
  /** The newest record of the key is at `offset`; 0 when it is deleted. */
  | { readonly kind: 'unexpected'; readonly offset: number }
  /** Another of the same append could not be taken. */
  | { readonly kind: 'abandoned' }
  /** It was sent twice, or what its node sent before it is missing. */
  | { readonly kind: 'repeated' }
  /** It was judged by too old a state: its node judges it again. */
  | { readonly kind: 'stale' }
  /** What lies behind `from` has to be known to decide. */
  | { readonly kind: 'open'; readonly from: number };

/** An entry may come so many offsets behind what its node had read. */
export const reach = 65_536;

const taken: Verdict = { kind: 'taken' };
const abandoned: Verdict = { kind: 'abandoned' };
const repeated: Verdict = { kind: 'repeated' };
const stale: Verdict = { kind: 'stale' };

/** A record that others may contradict. */
interface Mark {
  readonly offset: number;
  readonly time: number;
  readonly deletes: boolean;
  /** What would have to be known to be sure that it was taken; undefined when it surely was. */
  readonly openFrom: number | undefined;
}

/** The newest entry of a node. */
interface Turn {
  readonly number: number;
  readonly offset: number;
  readonly failed: boolean;
  readonly openFrom: number | undefined;
}

interface Kept {
  readonly offset: number;
  readonly marks: Map<string, Mark>;
  readonly key: string;
}

/**
 * Decides, entry by entry and in order, which of them count. A node judges a message by all it has read, up to `seen`, and
 * only then appends it; so only what came between `seen` and the entry itself can contradict it, and whoever has read that
 * stretch comes to the same verdict, whenever it reads and wherever it began.
 *
 *   ────────┬──────────────────────────┬──────►
 *           │seen                      │offset
 *           └── what others appended ──┘
 *               meanwhile decides
 */
export class Verdicts {
  readonly #epochs: () => EpochList;
  /** Entries up to here are not known; −1: nothing is missing. */
  readonly #from: number;
  readonly #ids = new Map<string, Mark>();
  readonly #sequences = new Map<string, Mark>();
  readonly #ends = new Map<string, Mark>();
  readonly #keys = new Map<string, Mark>();
  readonly #turns = new Map<string, Turn>();
  #kept: Kept[] = [];
  #firstKept = 0;

  /** `from`: the entries behind it are judged from the first on; −1 when the partition holds nothing before. */
  constructor(epochs: () => EpochList, from: number) {
    this.#epochs = epochs;
    this.#from = from;
  }

  /** Entries come in order, each once. `time` is that of the log: it never falls. Hot. */
  judge(entry: BrokerEntry, time: number): Verdict {
    this.#forgetBefore(entry.offset - reach);
    if (!this.#isCurrent(entry)) return stale;
    if (entry.seen < this.#from) return this.#leaveOpen(entry, time, entry.seen);
    // numbers grow with what was seen: entries that are left open say nothing of the order of those that are known
    const before = this.#turns.get(entry.node);
    if (before !== undefined && entry.number <= before.number) return repeated;
    if (!entry.isFirst && before?.number !== entry.number - 1) return repeated;
    const verdict = this.#contradiction(entry, time, before);
    const { kind } = verdict;
    this.#turns.set(entry.node, {
      number: entry.number,
      offset: entry.offset,
      failed: kind === 'ended' || kind === 'unexpected' || kind === 'abandoned',
      openFrom: kind === 'open' ? verdict.from : undefined,
    });
    return verdict;
  }

  #isCurrent({ offset, seen, epoch }: BrokerEntry): boolean {
    if (seen >= offset || offset - seen > reach) return false;
    const epochs = this.#epochs();
    const end = epochs.endOf(epoch, Number.POSITIVE_INFINITY);
    if (end !== undefined) return end >= seen;
    // the broker does not tell of very old ones any more, and this node may not have heard of the newest
    const [oldest] = epochs.starts;
    return oldest === undefined || epoch < oldest.epoch || epoch > epochs.current!.epoch;
  }

  #contradiction(entry: BrokerEntry, time: number, before: Turn | undefined): Verdict {
    if (entry.continues && before !== undefined) {
      if (before.failed) return abandoned;
      if (before.openFrom !== undefined) return this.#leaveOpen(entry, time, before.openFrom);
    }
    const isBare = isPlain(entry.bytes);
    if (isBare && this.#ends.size === 0) return taken;
    const record = isBare ? undefined : unpackRecord(entry);
    const topic = record?.topic ?? packedTopic(entry);
    const found = record === undefined ? undefined : this.#repeats(record, entry.seen);
    if (found !== undefined)
      return found.openFrom === undefined
        ? { kind: 'duplicate', offset: found.offset, time: found.time }
        : this.#leaveOpen(entry, time, found.openFrom);
    const end = newer(this.#ends.get(topic), entry.seen);
    if (end !== undefined)
      return end.openFrom === undefined
        ? { kind: 'ended', offset: end.offset }
        : this.#leaveOpen(entry, time, end.openFrom);
    if (record?.key !== undefined && entry.isConditional) {
      const newest = newer(this.#keys.get(keyOf(topic, record.key)), entry.seen);
      if (newest !== undefined)
        return newest.openFrom === undefined
          ? { kind: 'unexpected', offset: newest.deletes ? 0 : newest.offset }
          : this.#leaveOpen(entry, time, newest.openFrom);
    }
    if (record !== undefined) this.#take(record, entry.offset, time, undefined);
    return taken;
  }

  /** Whatever it may contradict is open too. */
  #leaveOpen(entry: BrokerEntry, time: number, from: number): Verdict {
    if (!isPlain(entry.bytes)) this.#take(unpackRecord(entry), entry.offset, time, from);
    return { kind: 'open', from };
  }

  #repeats({ topic, id, by, producer, sequence }: LogRecord, seen: number): Mark | undefined {
    const ofId = id === undefined ? undefined : newer(this.#ids.get(keyOf(topic, id)), seen);
    if (ofId !== undefined || producer === undefined) return ofId;
    return newer(this.#sequences.get(sequenceOf(by, producer, sequence!)), seen);
  }

  #take(record: LogRecord, offset: number, time: number, openFrom: number | undefined): void {
    const { topic, id, by, producer, sequence, key, end, data } = record;
    const mark = { offset, time, deletes: key !== undefined && data.length === 0, openFrom };
    if (id !== undefined) this.#keep(this.#ids, keyOf(topic, id), mark);
    if (producer !== undefined) this.#keep(this.#sequences, sequenceOf(by, producer, sequence!), mark);
    if (end) this.#keep(this.#ends, topic, mark);
    if (key !== undefined) this.#keep(this.#keys, keyOf(topic, key), mark);
  }

  #keep(marks: Map<string, Mark>, key: string, mark: Mark): void {
    marks.set(key, mark);
    this.#kept.push({ offset: mark.offset, marks, key });
  }

  /** No entry that follows can have seen less. */
  #forgetBefore(offset: number): void {
    const kept = this.#kept;
    for (; this.#firstKept < kept.length && kept[this.#firstKept]!.offset <= offset; this.#firstKept++) {
      const { marks, key, offset: of } = kept[this.#firstKept]!;
      if (marks.get(key)?.offset === of) marks.delete(key);
    }
    if (this.#firstKept > 4096 && this.#firstKept * 2 > kept.length) {
      this.#kept = kept.slice(this.#firstKept);
      this.#firstKept = 0;
      for (const [node, turn] of this.#turns) if (turn.offset <= offset) this.#turns.delete(node);
    }
  }
}

function newer(mark: Mark | undefined, seen: number): Mark | undefined {
  return mark !== undefined && mark.offset > seen ? mark : undefined;
}

/** Neither a topic nor what follows it holds a line feed. */
function keyOf(topic: string, text: string): string {
  return `${text}\n${topic}`;
}

function sequenceOf(by: string | undefined, producer: string, sequence: number): string {
  return `${sequence}\n${producer}\n${by ?? ''}`;
}
