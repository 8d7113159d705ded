import { filterSet, TailraceError } from '@tailrace/protocol';
import type { Clock } from '../../clock.ts';
import type { Deletion } from '../../deletions.ts';
import type { Deleted, Log } from '../../log.ts';
import type { LogReport } from '../../report.ts';
import type { Compactor } from '../compaction/compactor.ts';
import type { DedupeCheckpoints } from '../dedupe/dedupe-checkpoints.ts';
import { type Disk, isNoSpace, type Ownership, OwnershipLost } from '../files/disk.ts';
import type { IndexDamaged } from '../index/sealed-index.ts';
import type { Sealer } from '../index/sealer.ts';
import { removeCopiesOf } from '../recovery/quarantine.ts';
import type { SegmentList } from '../segment/segment-list.ts';
import { Turns } from '../upkeep/turns.ts';
import { describeTorn, type FoundDeletions, type PendingDeletion } from './deletions-file.ts';
import { DeletionsJournal } from './deletions-journal.ts';
import { topicsIn } from './doomed-topics.ts';

export interface TopicDeletionsParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  readonly ownership: Ownership;
  readonly segments: SegmentList;
  readonly sealer: Sealer;
  readonly compactor: Compactor;
  readonly checkpoints: DedupeCheckpoints;
  readonly log: Pick<Log, 'hot' | 'head' | 'tables' | 'deletions' | 'newest' | 'positionOf' | 'epochOf' | 'endOf'>;
  readonly makeDurable: () => Promise<void>;
  /** Takes the records out of memory, and what was remembered of them. */
  readonly forget: (deletion: Deletion) => void;
  /** Begins a new segment soon, so that the active one can be sealed. */
  readonly roll: () => void;
  readonly report: (report: LogReport) => void;
}

/** What is left undone is tried again after so many ms. */
const retryMs = 5000;

/**
 * Deletes topics for good. What is asked for is written down and synced before it is answered; from then on nothing reads
 * the records, and a start goes on with it. In the background every segment that holds some is written anew without them,
 * with marks, whatever holds other rewrites back; then what was written down is taken back.
 *
 *    asked ──► durable up to it ──► `deletions` written ──► out of memory ──► answered
 *                                         │
 *        active segment sealed ◄──────────┘──► checkpoint without the ids ──► segments rewritten ──► copies removed ──► done
 */
export class TopicDeletions {
  readonly #parts: TopicDeletionsParts;
  readonly #journal: DeletionsJournal;
  readonly #turns = new Turns();
  readonly #pending = new Map<string, Deletion>();
  #working: Promise<void> | undefined;
  #wake: () => void = () => undefined;
  #stopped = false;
  #waitTold = false;

  constructor(parts: TopicDeletionsParts) {
    this.#parts = parts;
    this.#journal = new DeletionsJournal(parts.disk, parts.directory);
  }

  /** Topics of which files may still hold records. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Goes on with what an earlier start was asked for. */
  start({ pending, torn }: FoundDeletions): void {
    const { log, report } = this.#parts;
    for (const { topic, upTo, epoch } of pending) {
      // offsets that are gone are given out again, to records that nobody deleted
      const end = log.endOf(epoch) ?? log.head.offset;
      this.#take({ topic, upTo: Math.min(upTo, end), table: log.tables.has(topic) });
    }
    if (torn !== undefined) {
      report({ level: 'warn', kind: 'deletion_torn', message: describeTorn(torn) });
      // told once; where it cannot be written now, the next start tells it again
      void this.#turns.take(() => this.#journal.replace(this.#allToWrite())).catch(() => undefined);
    }
    this.#work();
  }

  delete(topic: string): Promise<Deleted> {
    return this.#turns.take(() => this.#delete(topic));
  }

  /** A segment is complete: it can be written anew. */
  onSealed(): void {
    this.#wake();
  }

  /** Forgets what readers need not be told otherwise than by marks. */
  tidy(): void {
    const { deletions, hot } = this.#parts.log;
    deletions.forget(({ topic, upTo }) => upTo <= hot.base && !this.#pending.has(topic));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#turns.settled();
    await this.#working;
    await this.#journal.close();
  }

  async #delete(topic: string): Promise<Deleted> {
    const { log, makeDurable } = this.#parts;
    log.deletions.checkRoom();
    const { offset } = log.head;
    // what a power cut takes back would come again under the same offsets, and be deleted with the rest
    await makeDurable();
    const [upTo] = await log.newest(filterSet([topic]), 1, offset);
    if (upTo === undefined) {
      const before = this.#pending.get(topic);
      return { upTo: before && (await log.positionOf(before.upTo)), pending: before !== undefined };
    }
    const position = await log.positionOf(upTo);
    const deletion = { topic, upTo, table: log.tables.has(topic) };
    const asked = this.#toWrite(deletion);
    await this.#writeDown(() =>
      this.#journal.hasRoom(this.#pending.size)
        ? this.#journal.add(asked)
        : this.#journal.replace([...this.#allToWrite(), asked]),
    );
    this.#take(deletion);
    this.#work();
    return { upTo: position, pending: true };
  }

  #take(deletion: Deletion): void {
    this.#pending.set(deletion.topic, deletion);
    // whoever else holds records of it gives them up before their memory is used again
    this.#parts.log.deletions.add(deletion);
    this.#parts.forget(deletion);
  }

  #allToWrite(): PendingDeletion[] {
    return Array.from(this.#pending.values(), deletion => this.#toWrite(deletion));
  }

  #toWrite({ topic, upTo }: Deletion): PendingDeletion {
    return { topic, upTo, epoch: this.#parts.log.epochOf(upTo) };
  }

  async #writeDown(write: () => Promise<void>): Promise<void> {
    const { ownership } = this.#parts;
    try {
      await write();
    } catch (cause) {
      if (cause instanceof OwnershipLost) throw cause;
      if (isNoSpace(cause)) throw new TailraceError('log_full', 'nothing was deleted: the disk is full', { cause });
      throw new TailraceError('outcome_unknown', `the deletion could not be written down: ${String(cause)}`, { cause });
    }
    // what was written by an owner that is one no more may be missing in what the new owner read
    if (ownership.lost()) throw new OwnershipLost();
  }

  #work(): void {
    this.#wake();
    if (this.#working !== undefined || this.#pending.size === 0 || this.#stopped) return;
    this.#working = this.#workOn().finally(() => {
      this.#working = undefined;
      this.#work();
    });
  }

  async #workOn(): Promise<void> {
    while (this.#pending.size > 0 && !this.#stopped) {
      const asked = [...this.#pending.values()];
      const woken = this.#woken();
      try {
        if (await this.#pass(asked)) {
          await this.#turns.take(() => this.#done(asked));
          this.#wake();
          continue;
        }
      } catch (error) {
        if (this.#stopped) return;
        this.#tellWait(String(error));
      }
      await woken;
    }
  }

  /** Resolves when something happens that may help, or time has passed. */
  #woken(): Promise<void> {
    return new Promise(resolve => {
      const cancel = this.#parts.clock.after(retryMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  /** True when no file holds anything of what was asked for. */
  async #pass(asked: readonly Deletion[]): Promise<boolean> {
    const { disk, directory, segments, sealer, compactor, checkpoints, roll, report } = this.#parts;
    const rebuild = ({ segment, message }: IndexDamaged): Promise<void> => sealer.rebuild(segment, message);
    await checkpoints.settled();
    const newest = segments.all.findLast(({ records }) => records > 0);
    if (newest?.sealed === false) {
      if (checkpoints.outdated || (await topicsIn(newest, asked, rebuild)).size > 0) {
        roll();
        return false;
      }
    } else if (newest !== undefined && checkpoints.outdated) {
      checkpoints.take(newest);
      await checkpoints.settled();
    } else if (newest === undefined && checkpoints.outdated) {
      checkpoints.takeAgain();
      await checkpoints.settled();
    }
    await sealer.settled();
    const left = await compactor.erase(segment => topicsIn(segment, asked, rebuild));
    if (left.length > 0) throw new Error(`${left.join(', ')} cannot be written anew before the next start`);
    if (checkpoints.outdated) return false;
    const topics = asked.map(({ topic }) => topic);
    for (const copy of await removeCopiesOf(disk, directory, topics))
      report({ level: 'warn', kind: 'deletion', message: `${copy} held records of a deleted topic and is removed` });
    return true;
  }

  async #done(asked: readonly Deletion[]): Promise<void> {
    const done = new Set(asked.filter(deletion => this.#pending.get(deletion.topic) === deletion));
    const left = [...this.#pending.values()].filter(deletion => !done.has(deletion));
    await this.#writeDown(() => this.#journal.replace(left.map(deletion => this.#toWrite(deletion))));
    for (const { topic, upTo } of done) {
      this.#pending.delete(topic);
      this.#parts.report({
        level: 'info',
        kind: 'deletion',
        message: `no file holds a record of topic ${JSON.stringify(topic)} up to offset ${upTo} any more`,
      });
    }
    this.#waitTold = false;
    this.tidy();
  }

  #tellWait(why: string): void {
    if (this.#waitTold) return;
    this.#waitTold = true;
    this.#parts.report({
      level: 'error',
      kind: 'deletion_waits',
      message: `files still hold records of ${this.#pending.size} deleted topics, which is tried again: ${why}`,
    });
  }
}
