import type { Clock } from '../../clock.ts';
import { logDefaults, type RetentionOptions } from '../../options.ts';
import type { LogReport } from '../../report.ts';
import { SteadyClock } from '../../steady-clock.ts';
import { type Disk, ignoreMissing } from '../files/disk.ts';
import type { IndexCache } from '../index/index-cache.ts';
import type { Sealer } from '../index/sealer.ts';
import type { Segment } from '../segment/segment.ts';
import type { SegmentList } from '../segment/segment-list.ts';
import type { Turns } from './turns.ts';

export interface RetentionParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly cache: IndexCache;
  readonly options: RetentionOptions;
  readonly segments: SegmentList;
  readonly sealer: Sealer;
  /** In which segments come and go. */
  readonly turns: Turns;
  /** Begins a new segment, so that the active one can go. */
  readonly roll: () => Promise<void>;
  readonly report: (report: LogReport) => void;
  readonly floor: number;
  readonly onFloor: (floor: number) => void;
}

/** Removes whole segments, oldest first, and with them raises the floor. Readers that are at one finish first. */
export class Retention {
  floor: number;
  /** Bytes that are too old, and stay until the clock has had time to prove wrong. */
  waitingBytes = 0;
  readonly #parts: RetentionParts;
  readonly #steady: SteadyClock;
  /** Monotonic. */
  readonly #startedAt: number;
  #stopTimer: () => void = () => undefined;
  #working: Promise<void> = Promise.resolve();
  #sweeping = false;
  #waitTold = false;
  #stopped = false;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
    this.floor = parts.floor;
    this.#steady = new SteadyClock(parts.clock);
    this.#startedAt = parts.clock.monotonic();
  }

  start(): void {
    const { age, bytes } = this.#parts.options;
    if (age === undefined && bytes === undefined) return;
    this.#stopTimer = this.#parts.clock.every(logDefaults.sweepMs, () => {
      if (this.#sweeping) return;
      this.#sweeping = true;
      // a failure has been reported; the next sweep tries again
      const done = () => {
        this.#sweeping = false;
      };
      this.#queue(() => this.#sweep()).then(done, done);
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopTimer();
    await this.#working;
  }

  trim(offset: number): Promise<void> {
    return this.#queue(async () => {
      const newest = this.#parts.segments.all.at(-1);
      if (newest !== undefined && !newest.sealed && newest.records > 0 && newest.lastOffset <= offset)
        await this.#parts.roll();
      await this.#removeWhile(segment => segment.lastOffset <= offset);
    });
  }

  async #sweep(): Promise<void> {
    const { options, segments, roll } = this.#parts;
    const { age, bytes } = options;
    if (age !== undefined && !this.#mustWait(age)) {
      const limit = this.#steady.now() - age;
      const newest = segments.all.at(-1);
      // a segment goes as a whole: one that began too long ago is closed so that it can
      if (newest !== undefined && !newest.sealed && newest.records > 0 && newest.firstTime < limit) await roll();
      await this.#removeWhile(segment => segment.lastTime < limit);
    }
    if (bytes !== undefined) await this.#removeWhile(() => segments.bytes > bytes);
  }

  /** A clock that is wrong at the start must not empty the log at once. */
  #mustWait(age: number): boolean {
    const { options, segments, clock, report } = this.#parts;
    const grace = options.graceMs ?? logDefaults.graceMs;
    this.waitingBytes = 0;
    if (clock.monotonic() - this.#startedAt >= grace) return false;
    const limit = this.#steady.now() - age;
    let old = 0;
    for (const segment of segments.all) if (segment.sealed && segment.lastTime < limit) old += segment.end;
    if (old * 10 <= segments.bytes) return false;
    this.waitingBytes = old;
    if (!this.#waitTold) {
      this.#waitTold = true;
      report({
        level: 'warn',
        kind: 'retention_waits',
        message: `${old} of ${segments.bytes} bytes are older than the retention age soon after the start: removed in ${grace} ms unless the clock proves wrong`,
        bytes: old,
      });
    }
    return true;
  }

  async #removeWhile(holds: (segment: Segment) => boolean): Promise<void> {
    const { segments } = this.#parts;
    for (let oldest = segments.all[0]; oldest?.sealed && holds(oldest); oldest = segments.all[0]) {
      // the newest segment stays although it is sealed: it carries the offsets on
      if (segments.all.length === 1 || this.#stopped) return;
      const segment = oldest;
      await this.#parts.turns.take(() => this.#remove(segment));
    }
  }

  async #remove(segment: Segment): Promise<void> {
    const { disk, cache, segments, sealer, report, onFloor } = this.#parts;
    await sealer.settled();
    segments.remove(segment);
    this.floor = Math.max(this.floor, segments.all[0]!.firstOffset - 1);
    onFloor(this.floor);
    cache.forget(`${segment.name} `);
    for (const file of [segment.path, segment.indexPath]) {
      await segment.files.forget(file);
      // a segment that was never sealed has no index
      await disk.unlink(file).catch(ignoreMissing);
    }
    report({
      level: 'info',
      kind: 'retention',
      message: `removed ${segment.name}, floor ${this.floor}`,
      bytes: segment.end,
    });
  }

  #queue(task: () => Promise<void>): Promise<void> {
    const done = this.#working.then(task);
    this.#working = done.catch(error => {
      this.#parts.report({ level: 'error', kind: 'retention', message: `retention failed: ${String(error)}` });
    });
    return done;
  }
}
