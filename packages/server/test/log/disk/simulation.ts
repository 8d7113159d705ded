import * as path from 'node:path';
import { filterSet, isTailraceError } from '@tailrace/protocol';
import { type DiskLog, openDiskLog, verify } from '../../../src/log/index.ts';
import type { LogRecord } from '../../../src/log/record.ts';
import { ManualClock } from '../manual-clock.ts';
import { message } from '../messages.ts';
import { SeededRandom } from '../seeded-random.ts';
import { SimulatedDisk } from './simulated-disk.ts';

export interface SimulationReport {
  starts: number;
  /** Commits written past the page cache. */
  direct: number;
  /** Those that began beside another, and those that ended before it. */
  seconds: number;
  overtaken: number;
  appended: number;
  acked: number;
  tailsCut: number;
  tailsCopied: number;
  tailsRewritten: number;
  fullStarts: number;
  sealed: number;
  /** Segments rewritten, and records that were found missing by a rule. */
  rewritten: number;
  dropped: number;
  /** Deletions of topics that were answered, and records that were found missing by one. */
  deletions: number;
  deleted: number;
  /** Publishes that were repeated after a start and recognised. */
  repeated: number;
}

export function emptyReport(): SimulationReport {
  return {
    starts: 0,
    direct: 0,
    seconds: 0,
    overtaken: 0,
    appended: 0,
    acked: 0,
    tailsCut: 0,
    tailsCopied: 0,
    tailsRewritten: 0,
    fullStarts: 0,
    sealed: 0,
    rewritten: 0,
    dropped: 0,
    deletions: 0,
    deleted: 0,
    repeated: 0,
  };
}

const directory = '/simulated';

/** Records of `t/0` that the rule keeps. */
const keptLast = 2;

/** Ids that are remembered in histories that remember any. */
const keptIds = [12, 60];

/**
 * One history by seed: starts, appends at mixed durability, and ends by power cuts, kills and closes at random disk
 * operations. After each start the log is compared with the model: what was acked is there, in order, once; nothing
 * that was never appended; epochs grow. Throws naming the seed.
 */
export async function simulate(seed: number): Promise<SimulationReport> {
  const report = emptyReport();
  try {
    await new Simulation(seed, report).run();
  } catch (error) {
    throw new Error(`seed ${seed}, start ${report.starts}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  return report;
}

class Simulation {
  readonly #random: SeededRandom;
  readonly #machine: SimulatedDisk;
  readonly #clock = new ManualClock();
  readonly #report: SimulationReport;
  readonly #segmentBytes: number;
  /** Whether rules keep less of some topics. */
  readonly #compacts: boolean;
  /** Ids that must be recognised after a start. */
  readonly #remembers: number;
  /** Share of messages that may be large: a commit of them goes past the page cache, and begins beside another. */
  readonly #large: number;
  /** Messages without an id. */
  readonly #nameless = new Set<string>();
  /** What was appended at each offset, as far as it may still be there. */
  #expected: string[] = [];
  readonly #topicOf = new Map<string, string>();
  /** Offset up to which each topic was deleted: for certain, and at most. */
  readonly #deleted = new Map<string, number>();
  readonly #mayBeDeleted = new Map<string, number>();
  /** Deletions of this life that are not answered: they may take whatever is appended before it ends. */
  #unanswered: string[] = [];
  /** Newest offset whose ack survives a power cut, and one that survives a kill. */
  #durable = 0;
  #written = 0;
  #epoch = 0;
  /** Counts deaths: what answers after one is no ack. */
  #deaths = 0;
  #serial = 0;

  constructor(seed: number, report: SimulationReport) {
    this.#random = new SeededRandom(seed);
    this.#machine = new SimulatedDisk(this.#random);
    this.#machine.reorders = this.#random.chance(0.5);
    this.#report = report;
    this.#segmentBytes = this.#random.pick([2048, 8192, 65536]);
    this.#compacts = this.#random.chance(0.5);
    this.#large = this.#random.pick([0.1, 0.7]);
    this.#remembers = this.#random.pick([0, ...keptIds]);
  }

  async run(): Promise<void> {
    const starts = 3 + this.#random.below(6);
    for (let i = 0; i < starts; i++) {
      // a start may die half-way as well, and so may the one that finishes what it began
      while (this.#random.chance(0.4)) await this.#brokenStart();
      if (this.#random.chance(0.2)) await this.#fullStart();
      if (this.#random.chance(0.2)) await this.#loseCheckpoints();
      const log = await this.#open();
      await this.#compare(log);
      await this.#repeat(log);
      await this.#live(log);
    }
    const log = await this.#open();
    await this.#compare(log);
    await log.close();
    this.#report.direct = this.#machine.directCommits;
    this.#report.seconds = this.#machine.secondCommits;
    this.#report.overtaken = this.#machine.overtaken;
    const { damages } = await verify(directory, this.#machine.boot());
    if (damages.length > 0) throw new Error(`verify finds ${JSON.stringify(damages)}`);
  }

  #open(): Promise<DiskLog> {
    this.#report.starts++;
    this.#clock.advance(this.#random.below(3000));
    return openDiskLog({
      directory,
      disk: this.#machine.boot(),
      clock: this.#clock,
      random: this.#random,
      segmentBytes: this.#segmentBytes,
      hotBytes: this.#random.pick([1, 4096, 1 << 20]),
      ...(this.#compacts ? { keep: { rules: [{ filter: 't/0', last: keptLast }] } } : {}),
      dedupe: { ids: this.#remembers, ageMs: 0, producers: 0 },
      onReport: ({ kind, message }) => {
        if (kind === 'tail_cut') this.#report.tailsCut++;
        if (kind === 'tail_copied') this.#report.tailsCopied++;
        if (kind === 'tail_rewritten') this.#report.tailsRewritten++;
        if (kind === 'compaction') this.#report.rewritten++;
        if (kind === 'fenced') throw new Error(message);
      },
    });
  }

  /** The next start has to find what was published in the log. */
  async #loseCheckpoints(): Promise<void> {
    const disk = this.#machine.boot();
    for (const name of await disk.list(directory).catch(() => []))
      if (name.endsWith('.dedupe')) await disk.unlink(path.join(directory, name));
  }

  async #brokenStart(): Promise<void> {
    const at = 1 + this.#random.below(40);
    const died = this.#dieAt(at);
    const log = await Promise.race([this.#open(), died.then(() => undefined)]);
    this.#machine.onOperation = undefined;
    if (log === undefined) return;
    // it had not so many operations: it dies now, before anything was appended
    this.#die();
  }

  /** A start without room for anything: it serves what is there, takes nothing, and ends in one way or another. */
  async #fullStart(): Promise<void> {
    this.#machine.capacity = 0;
    const died = this.#random.chance(0.3)
      ? this.#dieAt(1 + this.#random.below(40))
      : new Promise<void>(() => undefined);
    const log = await Promise.race([this.#open(), died.then(() => undefined)]);
    this.#machine.onOperation = undefined;
    if (log !== undefined) {
      await this.#compareRecords(log);
      if (log.status.state !== 'full') throw new Error(`the log is ${log.status.state} on a full disk`);
      const refused = await log.append([message('t/0', 'full')], 'written').catch((error: unknown) => error);
      if (!isTailraceError(refused) || refused.code !== 'log_full')
        throw new Error(`a full disk took ${String(refused)}`);
      this.#report.fullStarts++;
      if (this.#random.chance(0.3)) await log.close();
      else this.#die();
    }
    this.#machine.capacity = Number.POSITIVE_INFINITY;
  }

  /** Resolves when the machine has died at its n-th operation from now. */
  #dieAt(operations: number): Promise<void> {
    return new Promise(resolve => {
      let left = operations;
      this.#machine.onOperation = () => {
        if (--left > 0) return;
        this.#machine.onOperation = undefined;
        this.#die();
        resolve();
      };
    });
  }

  #die(): void {
    this.#deaths++;
    if (this.#random.chance(0.7)) {
      this.#machine.cut();
      this.#written = this.#durable;
    } else this.#machine.kill();
  }

  async #live(log: DiskLog): Promise<void> {
    if (log.head.offset + 1 !== this.#expected.length + 1) throw new Error('the model is not at the head');
    let dead = false;
    let over = false;
    const died = this.#random.chance(0.85)
      ? this.#dieAt(1 + this.#random.below(120)).then(() => {
          dead = true;
        })
      : new Promise<void>(() => undefined);
    const rounds = 1 + this.#random.below(30);
    for (let i = 0; i < rounds && !dead; i++) {
      const appends: Promise<void>[] = [];
      for (let w = this.#random.below(6); w >= 0; w--) {
        const append = this.#append(log);
        // some writers go on as soon as they have their ack
        appends.push(
          this.#random.chance(0.5) ? append : append.then(() => (over || dead ? undefined : this.#append(log))),
        );
      }
      if (this.#compacts && this.#random.chance(0.15)) {
        // it may be overtaken by an end of any kind
        const compaction = log.compact().catch(() => undefined);
        if (this.#random.chance(0.5)) await Promise.race([compaction, died]);
      }
      if (this.#random.chance(0.05)) {
        const deletion = this.#delete(log);
        if (this.#random.chance(0.5)) await Promise.race([deletion, died]);
      }
      if (this.#random.chance(0.2)) this.#clock.advance(this.#random.below(1500));
      const settled = Promise.all(appends).then(() => undefined);
      // sometimes what was appended is still on its way when the next comes
      await Promise.race([this.#random.chance(0.7) ? settled : turn(), died]);
      // idle for a while: the log syncs what was only written and marks what is durable
      for (let idle = this.#random.chance(0.3) ? 8 : 0; idle > 0 && !dead; idle--) {
        this.#clock.advance(200);
        await turn();
      }
    }
    this.#report.sealed += log.status.segments;
    this.#machine.onOperation = undefined;
    over = true;
    if (dead) return;
    if (this.#random.chance(0.5)) {
      await log.close();
      this.#durable = this.#written = this.#expected.length;
    } else this.#die();
  }

  async #delete(log: DiskLog): Promise<void> {
    const topic = `t/${this.#random.below(4)}`;
    this.#unanswered.push(topic);
    const life = this.#deaths;
    const { upTo } = await log.deleteTopic(topic);
    if (life !== this.#deaths) return;
    this.#unanswered.splice(this.#unanswered.indexOf(topic), 1);
    if (upTo === undefined) return;
    this.#report.deletions++;
    this.#deleted.set(topic, Math.max(upTo.offset, this.#deleted.get(topic) ?? 0));
    this.#mayBeDeleted.set(topic, Math.max(upTo.offset, this.#mayBeDeleted.get(topic) ?? 0));
  }

  async #append(log: DiskLog): Promise<void> {
    const durability = this.#random.chance(0.4) ? 'written' : 'fsync';
    const messages = Array.from({ length: 1 + this.#random.below(3) }, () => {
      const id = `m${this.#serial++}`;
      const size = this.#random.chance(this.#large) ? this.#random.below(5000) : this.#random.below(200);
      this.#expected.push(id);
      const topic = `t/${this.#random.below(4)}`;
      this.#topicOf.set(id, topic);
      const nameless = this.#random.chance(0.5);
      if (nameless) this.#nameless.add(id);
      return message(topic, id.padEnd(size, '.'), nameless ? {} : { id });
    });
    const last = this.#expected.length;
    this.#report.appended += messages.length;
    const life = this.#deaths;
    const results = await log.append(messages, durability);
    if (life !== this.#deaths) return;
    this.#report.acked += messages.length;
    const newest = results[results.length - 1];
    if (newest === undefined || 'error' in newest || newest.offset !== last)
      throw new Error(`appended as ${last}, acked as ${JSON.stringify(newest)}`);
    this.#written = Math.max(this.#written, last);
    if (durability === 'fsync') this.#durable = Math.max(this.#durable, last);
  }

  async #compare(log: DiskLog): Promise<void> {
    await this.#compareRecords(log);
    const { head } = log;
    const epoch = log.epochOf(head.offset + 1);
    if (epoch <= this.#epoch) throw new Error(`epoch ${epoch} after ${this.#epoch}`);
    const before = this.#epoch === 0 ? 0 : log.endOf(this.#epoch);
    if (before !== (this.#epoch === 0 ? 0 : head.offset)) throw new Error(`epoch ${this.#epoch} ends at ${before}`);
    this.#epoch = epoch;
  }

  /** The newest ids are recognised, at their offsets, but for those of topics that may be deleted. */
  async #repeat(log: DiskLog): Promise<void> {
    let left = this.#remembers;
    for (let offset = this.#expected.length; offset > 0 && left > 0; offset--) {
      const id = this.#expected[offset - 1]!;
      if (this.#nameless.has(id)) continue;
      left--;
      const topic = this.#topicOf.get(id)!;
      if (offset <= (this.#mayBeDeleted.get(topic) ?? 0)) continue;
      const [found] = await log.append([message(topic, 'again', { id })], 'fsync');
      if (found === undefined || 'error' in found || !found.duplicate || found.offset !== offset)
        throw new Error(`${id} was appended as ${offset}, and is now acked as ${JSON.stringify(found)}`);
      this.#report.repeated++;
    }
  }

  async #compareRecords(log: DiskLog): Promise<void> {
    const { head } = log;
    if (head.offset < this.#written) throw new Error(`head ${head.offset}, but ${this.#written} was acked`);
    if (head.offset > this.#expected.length)
      throw new Error(`head ${head.offset}, but only ${this.#expected.length} were appended`);
    const records: LogRecord[] = [];
    let toldTo = 0;
    for (let after = 0; after < head.offset; ) {
      const slice = await log.read(after, head.offset, filterSet(['#']), 1 + this.#random.below(5000));
      if (slice.after !== after || slice.next <= after) throw new Error(`reading stops at ${after}`);
      records.push(...slice.records);
      toldTo = Math.max(toldTo, slice.dropped.records);
      after = slice.next;
    }
    for (const record of records) {
      const text = Buffer.from(record.data).toString();
      const expected = this.#expected[record.offset - 1]!;
      const id = this.#nameless.has(expected) ? undefined : expected;
      if (text.replace(/\.*$/, '') !== expected || record.id !== id)
        throw new Error(`offset ${record.offset} holds ${text} as ${record.id}, expected ${expected} as ${id}`);
    }
    for (const topic of this.#unanswered.splice(0)) this.#mayBeDeleted.set(topic, head.offset);
    for (const [topic, upTo] of this.#mayBeDeleted) this.#mayBeDeleted.set(topic, Math.min(upTo, head.offset));
    this.#compareMissing(records, head.offset, toldTo);
    // what is there after a start is there for good
    this.#expected.length = head.offset;
    this.#durable = this.#written = head.offset;
  }

  /** Only what a rule lets go and no start needs, or a deletion took, may be missing; the newest of it must be told. */
  #compareMissing(records: readonly LogRecord[], head: number, toldTo: number): void {
    const there = new Set(records.map(({ offset }) => offset));
    let newer = 0;
    let ids = 0;
    let newestMissing = 0;
    for (let offset = head; offset > 0; offset--) {
      const topic = this.#topicOf.get(this.#expected[offset - 1]!)!;
      const ruled = this.#compacts && topic === 't/0';
      const remembered = !this.#nameless.has(this.#expected[offset - 1]!) && ids++ < this.#remembers;
      if (!there.has(offset)) {
        const deleted = offset <= (this.#mayBeDeleted.get(topic) ?? 0);
        if (!deleted && (!ruled || remembered || newer < keptLast)) throw new Error(`offset ${offset} is missing`);
        newestMissing = Math.max(newestMissing, offset);
        if (deleted) this.#report.deleted++;
        else this.#report.dropped++;
      } else if (offset <= (this.#deleted.get(topic) ?? 0))
        throw new Error(`offset ${offset} was deleted and is there`);
      if (ruled) newer++;
    }
    if (toldTo !== newestMissing) throw new Error(`dropped up to ${newestMissing}, told up to ${toldTo}`);
  }
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}
