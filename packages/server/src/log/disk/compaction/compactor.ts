import type { Clock } from '../../clock.ts';
import { type KeepOptions, logDefaults } from '../../options.ts';
import type { LogReport } from '../../report.ts';
import type { DoomedTopics } from '../deletion/doomed-topics.ts';
import { type Disk, ignoreMissing } from '../files/disk.ts';
import type { Housework } from '../housework/housework.ts';
import { segmentOf, stateOf } from '../housework/segment-state.ts';
import type { MayDrop, RewrittenSegment, SweepHost, Swept } from '../housework/sweep-job.ts';
import { ActiveIndex } from '../index/active-index.ts';
import type { IndexReading } from '../index/sealed-index.ts';
import type { Sealer } from '../index/sealer.ts';
import type { ReadsInFlight } from '../read/reads-in-flight.ts';
import type { Segment } from '../segment/segment.ts';
import type { SegmentList } from '../segment/segment-list.ts';
import type { Turns } from '../upkeep/turns.ts';
import { discard, install, removeDrafts } from './rewrite.ts';

export interface CompactorParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  /** Of this owner: see `SweepJob`. */
  readonly run: number;
  readonly housework: Housework;
  readonly reading: IndexReading;
  readonly secret: Uint8Array;
  readonly options: KeepOptions | undefined;
  /** Memory for what a sweep knows of newer records, bytes. */
  readonly tableBytes: number;
  readonly segments: SegmentList;
  readonly sealer: Sealer;
  /** In which segments come and go. */
  readonly turns: Turns;
  readonly inFlight: ReadsInFlight;
  /** Offsets above this are in memory: what is read from there must not differ from the files. */
  readonly hotBase: () => number;
  /** Syncs everything that is committed: what makes older records superfluous must survive as they did. */
  readonly makeDurable: () => Promise<void>;
  /** Index of the first segment whose ids de-duplication still needs. */
  readonly rememberedFrom: () => number;
  readonly report: (report: LogReport) => void;
}

/** Records and bytes that one compaction dropped. */
export interface Compacted {
  readonly segments: number;
  readonly records: number;
  readonly bytes: number;
  /** Records that rules let go of and that stay for de-duplication. */
  readonly keptForDedupe: number;
}

/** Share of the log that must be new for another sweep. */
const freshShare = 1 / 16;

/** Keeps to the rules of topics: from time to time it rewrites the sealed segments that hold too much of what may go. */
export class Compactor {
  readonly #parts: CompactorParts;
  #stopTimer: () => void = () => undefined;
  #working: Promise<unknown> | undefined;
  readonly #stop = new AbortController();
  /**
   * The newest segments that could be rewritten at the last sweep, and in full although they held something for
   * de-duplication: without newer ones there is nothing new to do.
   */
  #sweptTo = 0;
  #forgottenTo = 0;
  #sweptAt = Number.NEGATIVE_INFINITY;
  /** First offsets of segments. */
  readonly #rewritten = new Set<number>();
  #records = 0;
  #bytes = 0;

  constructor(parts: CompactorParts) {
    this.#parts = parts;
  }

  start(): void {
    const { clock, options } = this.#parts;
    if (options === undefined || options.rules.length === 0) return;
    this.#stopTimer = clock.every(logDefaults.keep.everyMs, () => {
      // a failure has been reported; the next sweep tries again
      if (this.#working === undefined && this.#due()) this.compact(logDefaults.keep.share).catch(() => undefined);
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#stopTimer();
    await this.#working?.catch(() => undefined);
  }

  /**
   * Rewrites every segment of which at least `share` would go, for 0 until nothing more goes; what is under way already is
   * waited for first.
   */
  compact(share: number): Promise<Compacted> {
    return this.#alone(() => this.#compact(share));
  }

  /**
   * Rewrites every segment with topics of which something must go, whatever else would have it stay; what is under way
   * already is waited for first. Returns the names of those that have to stay as they are for now.
   */
  erase(topicsIn: (segment: Segment) => Promise<DoomedTopics>): Promise<readonly string[]> {
    return this.#alone(() => this.#erase(topicsIn));
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    while (this.#working !== undefined) await this.#working.catch(() => undefined);
    const working = work();
    this.#working = working;
    try {
      return await working;
    } finally {
      this.#working = undefined;
    }
  }

  async #erase(topicsIn: (segment: Segment) => Promise<DoomedTopics>): Promise<readonly string[]> {
    const { directory, run, housework, segments } = this.#parts;
    const { signal } = this.#stop;
    const left: string[] = [];
    let failure: unknown;
    for (const segment of segments.all) {
      signal.throwIfAborted();
      try {
        const topics = await topicsIn(segment);
        if (topics.size === 0) continue;
        const job = { directory, run, segment: stateOf(segment), topics };
        const may = segment.sealed && !segment.uncut;
        const clean = may && (await housework.erase(job, this.#host(), signal));
        if (!clean && segments.all.includes(segment)) left.push(segment.name);
      } catch (error) {
        // one segment that cannot be read is no reason to leave the others as they are
        if (segments.all.includes(segment)) failure ??= error;
      }
    }
    // a draft may hold records of a topic that is deleted only now
    await this.#removeDrafts();
    if (failure !== undefined) throw failure;
    return left;
  }

  /** Enough is there that was not looked at yet, or deletions have had time to grow old. */
  #due(): boolean {
    const { clock, options, segments } = this.#parts;
    const needed = this.#neededFrom();
    let fresh = 0;
    for (let i = segments.all.length - 1; i >= 0; i--) {
      const segment = segments.all[i]!;
      const { firstOffset, end, records, remembered } = segment;
      if (firstOffset <= this.#sweptTo && firstOffset <= this.#forgottenTo) break;
      const may = this.#mayDrop(segment, needed);
      const rememberedBytes = (end * remembered) / Math.max(1, records);
      if (may !== 'nothing' && firstOffset > this.#sweptTo) fresh += end - rememberedBytes;
      if (may === 'everything' && firstOffset > this.#forgottenTo) fresh += rememberedBytes;
    }
    // a sweep reads all of the log that comes under rules: it must be worth it
    if (fresh > segments.bytes * freshShare) return true;
    const age = options?.tombstoneAgeMs ?? logDefaults.keep.tombstoneAgeMs;
    return clock.monotonic() - this.#sweptAt >= age / 4;
  }

  async #compact(share: number): Promise<Compacted> {
    const { clock, options, sealer } = this.#parts;
    this.#rewritten.clear();
    this.#records = this.#bytes = 0;
    let keptForDedupe = 0;
    await sealer.settled();
    if (options !== undefined && options.rules.length > 0 && !this.#stop.signal.aborted) {
      this.#noteSwept();
      this.#sweptAt = clock.monotonic();
      try {
        ({ keptForDedupe } = await this.#sweep(options, share));
      } catch (error) {
        if (!this.#stop.signal.aborted) {
          this.#failed(`compaction stopped, and is tried again later: ${String(error)}`);
          // what could not be removed is left to a deletion or the next start
          await this.#removeDrafts().catch(() => undefined);
          throw error;
        }
      }
    }
    return { segments: this.#rewritten.size, records: this.#records, bytes: this.#bytes, keptForDedupe };
  }

  /** What a deletion waited for may be gone after a sweep: then another finds that it can go too. */
  async #sweep(options: KeepOptions, share: number): Promise<Swept> {
    const { directory, run, secret, tableBytes, housework, segments } = this.#parts;
    for (;;) {
      const before = this.#records;
      const job = { directory, run, secret, options, tableBytes, share, segments: segments.all.map(stateOf) };
      const swept = await housework.sweep(job, this.#host(), this.#stop.signal);
      if (share > 0 || swept.waitingDeletions === 0 || this.#records === before) return swept;
    }
  }

  #noteSwept(): void {
    const { segments } = this.#parts;
    const needed = this.#neededFrom();
    this.#sweptTo = this.#forgottenTo = 0;
    for (const segment of segments.all) {
      const may = this.#mayDrop(segment, needed);
      if (may !== 'nothing') this.#sweptTo = segment.firstOffset;
      if (may === 'everything' && segment.remembered > 0) this.#forgottenTo = segment.firstOffset;
    }
  }

  /** Something of a sealed segment below what is in memory, so that all reads of one stretch agree. */
  #mayDrop(segment: Segment, neededFrom: number): MayDrop {
    if (!segment.sealed || segment.uncut || segment.index instanceof ActiveIndex) return 'nothing';
    if (segment.lastOffset > this.#parts.hotBase()) return 'nothing';
    return segment.remembered > 0 && segment.firstOffset >= neededFrom ? 'unremembered' : 'everything';
  }

  /** First offset of the segments that de-duplication needs at the next start. */
  #neededFrom(): number {
    const { segments, rememberedFrom } = this.#parts;
    return segments.all[rememberedFrom()]?.firstOffset ?? Number.POSITIVE_INFINITY;
  }

  #host(): SweepHost {
    return {
      isThere: async name => this.#find(name) !== undefined,
      mayDrop: async name => {
        const segment = this.#find(name);
        return segment === undefined ? 'nothing' : this.#mayDrop(segment, this.#neededFrom());
      },
      unreadable: async ({ segment, why }) => this.#failed(`${segment} cannot be looked through: ${why}`),
      install: rewritten => this.#parts.turns.take(() => this.#swap(rewritten)),
    };
  }

  /** What a job left over that failed, or whose thread died: no other runs. */
  #removeDrafts(): Promise<void> {
    const { disk, directory, run, turns } = this.#parts;
    // what a thread that died had offered may be on its way to its name
    return turns.take(() => removeDrafts(disk, directory, run));
  }

  #find(name: string): Segment | undefined {
    return this.#parts.segments.all.find(segment => segment.name === name);
  }

  /**
   * False when the segment is gone meanwhile, or the log is being closed. It ends when the old file is gone: retention
   * must not remove the new one before, or the old one would come back at the next start.
   */
  async #swap({
    source: name,
    segment: state,
    temporary,
    temporaryIndex,
    dropped,
  }: RewrittenSegment): Promise<boolean> {
    const { disk, directory, reading, segments, sealer, makeDurable, report } = this.#parts;
    await makeDurable();
    await sealer.settled();
    const source = this.#find(name);
    if (this.#stop.signal.aborted || source === undefined) return false;
    const segment = segmentOf(source.files, directory, state);
    const rewrite = { segment, temporary, temporaryIndex };
    try {
      await install(disk, reading, rewrite);
    } catch (error) {
      await discard(disk, rewrite);
      throw error;
    }
    segments.replace(source, segment);
    await this.#remove(source);
    this.#rewritten.add(source.firstOffset);
    this.#records += dropped;
    this.#bytes += source.end - segment.end;
    report({
      level: 'info',
      kind: 'compaction',
      message: `rewrote ${source.name} as ${segment.name} without ${dropped} of ${source.records} records`,
      at: { segment: segment.name },
      bytes: source.end - segment.end,
    });
    return true;
  }

  /** The old generation goes when those who were reading it are through; a start that finds both takes the new one. */
  async #remove(source: Segment): Promise<void> {
    const { disk, reading, inFlight } = this.#parts;
    await inFlight.past();
    reading.cache.forget(`${source.name} `);
    for (const file of [source.path, source.indexPath]) {
      await source.files.forget(file);
      await disk.unlink(file).catch(ignoreMissing);
    }
  }

  #failed(message: string): void {
    this.#parts.report({ level: 'error', kind: 'compaction_failed', message });
  }
}
