import type { Clock } from '../../clock.ts';
import { type KeepOptions, logDefaults } from '../../options.ts';
import type { LogReport } from '../../report.ts';
import { ActiveIndex } from '../active-index.ts';
import { type Disk, ignoreMissing } from '../disk.ts';
import type { ReadsInFlight } from '../reads-in-flight.ts';
import type { IndexReading } from '../sealed-index.ts';
import type { Sealer } from '../sealer.ts';
import type { Segment } from '../segment.ts';
import type { SegmentList } from '../segment-list.ts';
import type { Turns } from '../turns.ts';
import type { Doomed } from './doomed.ts';
import { discard, install, type Rewrite, rewriteSegment } from './rewrite.ts';
import { Sweep } from './sweep.ts';

export interface CompactorParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
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
}

/** Share of the log that must be new for another sweep. */
const freshShare = 1 / 16;

/** Thrown where work stops because the log is being closed. */
class Stopped extends Error {}

/** Keeps to the rules of topics: from time to time it rewrites the sealed segments that hold too much of what may go. */
export class Compactor {
  readonly #parts: CompactorParts;
  #stopTimer: () => void = () => undefined;
  #working: Promise<unknown> | undefined;
  #stopped = false;
  /** The newest segment that could be rewritten at the last sweep: without a newer one there is nothing new to do. */
  #sweptTo = 0;
  #sweptAt = Number.NEGATIVE_INFINITY;
  #segments = 0;
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
    this.#stopped = true;
    this.#stopTimer();
    await this.#working?.catch(() => undefined);
  }

  /** Rewrites every segment of which at least `share` would go; what is under way already is waited for first. */
  compact(share: number): Promise<Compacted> {
    return this.#alone(() => this.#compact(share));
  }

  /**
   * Rewrites every segment in which something must go, whatever else would have it stay; what is under way already is
   * waited for first. Returns the names of those that have to stay as they are for now.
   */
  erase(doomedIn: (segment: Segment) => Promise<Doomed>): Promise<readonly string[]> {
    return this.#alone(() => this.#erase(doomedIn));
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

  async #erase(doomedIn: (segment: Segment) => Promise<Doomed>): Promise<readonly string[]> {
    const { segments } = this.#parts;
    const left: string[] = [];
    let failure: unknown;
    for (const segment of segments.all) {
      this.#checkStopped();
      try {
        const doomed = await doomedIn(segment);
        if (doomed.count === 0) continue;
        if (segment.sealed && !segment.uncut) await this.#rewrite(segment, doomed, 0);
        if (segments.all.includes(segment)) left.push(segment.name);
      } catch (error) {
        // one segment that cannot be read is no reason to leave the others as they are
        if (segments.all.includes(segment)) failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return left;
  }

  /** Enough is there that was not looked at yet, or deletions have had time to grow old. */
  #due(): boolean {
    const { clock, options, segments } = this.#parts;
    let fresh = 0;
    for (let i = segments.all.length - 1; i >= 0; i--) {
      const segment = segments.all[i]!;
      if (segment.firstOffset <= this.#sweptTo) break;
      if (this.#mayRewrite(segment)) fresh += segment.end;
    }
    // a sweep reads all of the log that comes under rules: it must be worth it
    if (fresh > segments.bytes * freshShare) return true;
    const age = options?.tombstoneAgeMs ?? logDefaults.keep.tombstoneAgeMs;
    return clock.monotonic() - this.#sweptAt >= age / 4;
  }

  async #compact(share: number): Promise<Compacted> {
    const { clock, reading, secret, options, tableBytes, segments, sealer } = this.#parts;
    this.#segments = this.#records = this.#bytes = 0;
    await sealer.settled();
    if (options !== undefined && options.rules.length > 0 && !this.#stopped) {
      this.#sweptTo = segments.all.findLast(segment => this.#mayRewrite(segment))?.firstOffset ?? 0;
      this.#sweptAt = clock.monotonic();
      try {
        const checkStopped = (): void => this.#checkStopped();
        const mayRewrite = (segment: Segment): boolean => this.#mayRewrite(segment);
        const isThere = (segment: Segment): boolean => segments.all.includes(segment);
        const rewrite = (segment: Segment, doomed: Doomed): Promise<Segment> => this.#rewrite(segment, doomed, share);
        const onUnreadable = (segment: Segment, error: unknown): void =>
          this.#failed(`${segment.name} cannot be looked through: ${String(error)}`);
        const ways = { checkStopped, isThere, onUnreadable, mayRewrite, rewrite };
        await new Sweep({ clock, reading, secret, options, tableBytes, ...ways }, [...segments.all]).run();
      } catch (error) {
        if (!(error instanceof Stopped)) {
          this.#failed(`compaction stopped, and is tried again later: ${String(error)}`);
          throw error;
        }
      }
    }
    return { segments: this.#segments, records: this.#records, bytes: this.#bytes };
  }

  /**
   * A sealed segment below what is in memory, so that all reads of one stretch agree; and behind what de-duplication
   * needs at the next start, unless it holds nothing for it.
   */
  #mayRewrite(segment: Segment): boolean {
    const { segments, hotBase, rememberedFrom } = this.#parts;
    if (!segment.sealed || segment.uncut || segment.index instanceof ActiveIndex) return false;
    if (segment.lastOffset > hotBase()) return false;
    return segment.remembered === 0 || segments.all.indexOf(segment) < rememberedFrom();
  }

  async #rewrite(source: Segment, doomed: Doomed, share: number): Promise<Segment> {
    if (doomed.bytes < share * (source.end - source.header.framesAt)) return source;
    const { disk, clock, directory, reading, report } = this.#parts;
    const checkStopped = (): void => this.#checkStopped();
    const rewrite = await rewriteSegment({ disk, clock, directory, reading, checkStopped }, source, doomed);
    const { segment } = rewrite;
    if (!(await this.#parts.turns.take(() => this.#swap(source, rewrite)))) return source;
    this.#segments++;
    this.#records += doomed.count;
    this.#bytes += source.end - segment.end;
    report({
      level: 'info',
      kind: 'compaction',
      message: `rewrote ${source.name} as ${segment.name} without ${doomed.count} of ${source.records} records`,
      at: { segment: segment.name },
      bytes: source.end - segment.end,
    });
    return segment;
  }

  /**
   * False when the segment is gone meanwhile, or the log is being closed. It ends when the old file is gone: retention
   * must not remove the new one before, or the old one would come back at the next start.
   */
  async #swap(source: Segment, rewrite: Rewrite): Promise<boolean> {
    const { disk, segments, sealer, makeDurable } = this.#parts;
    try {
      await makeDurable();
      await sealer.settled();
      if (this.#stopped || !segments.all.includes(source)) {
        await discard(disk, rewrite);
        return false;
      }
      await install(disk, rewrite);
    } catch (error) {
      await discard(disk, rewrite);
      throw error;
    }
    segments.replace(source, rewrite.segment);
    await this.#remove(source);
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

  #checkStopped(): void {
    if (this.#stopped) throw new Stopped();
  }
}
