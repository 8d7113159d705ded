import type { Clock } from '../../clock.ts';
import type { ScrubStatus } from '../../log.ts';
import type { ScrubOptions } from '../../options.ts';
import type { LogReport } from '../../report.ts';
import type { Gate } from '../read/gate.ts';
import { describeDamage, LogDamaged, placeOf } from '../segment/damage.ts';
import { FrameReader } from '../segment/frame-reader.ts';
import type { Segment } from '../segment/segment.ts';
import { readDamage, readInto } from '../segment/segment-bytes.ts';
import { decodeSegmentHeader, segmentHeaderBytes } from '../segment/segment-header.ts';
import type { SegmentList } from '../segment/segment-list.ts';

export interface ScrubParts {
  readonly clock: Clock;
  readonly gate: Gate;
  readonly segments: SegmentList;
  readonly options: ScrubOptions;
  /** Whether records wait for their commit. */
  readonly busy: () => boolean;
  readonly report: (report: LogReport) => void;
}

/** How often reading goes on, in ms: beside waiting commits one chunk each time, else what the pace allows. */
const tickMs = 250;

/**
 * Re-reads complete segments in the background, round and round, so that a disk which changes bytes is found out while a
 * backup still has them, and not by the reader who needs them.
 */
export class Scrub implements ScrubStatus {
  bytes = 0;
  damages = 0;
  progress = 0;
  readonly #parts: ScrubParts;
  #budget = 0;
  #goOn: (() => void) | undefined;
  #stopTimer: () => void = () => undefined;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: ScrubParts) {
    this.#parts = parts;
  }

  start(): void {
    if (this.#parts.options.intervalMs === 0) return;
    this.#stopTimer = this.#parts.clock.every(tickMs, () => this.#tick());
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopTimer();
    this.#goOn?.();
    await this.#running;
  }

  #tick(): void {
    const { options, segments } = this.#parts;
    const perSecond = Math.min(options.bytesPerSecond, (segments.bytes * 1000) / options.intervalMs);
    // what was not used up is not saved up, and a chunk that cost more is paid off first
    this.#budget = Math.min(this.#budget, 0) + (perSecond * tickMs) / 1000;
    if (this.#budget > 0) this.#goOn?.();
  }

  async #run(): Promise<void> {
    await this.#nextTick();
    let after = this.#startingPlace();
    while (!this.#stopped) {
      const segment = this.#parts.segments.all.find(({ sealed, firstOffset }) => sealed && firstOffset > after);
      if (segment === undefined) {
        after = 0;
        await this.#nextTick();
        continue;
      }
      await this.#check(segment);
      after = segment.firstOffset;
      this.#arrive(segment, segment.end);
    }
  }

  /** Where a server that never restarted would be by now: one that restarts often reaches the end as well. */
  #startingPlace(): number {
    const { clock, options, segments } = this.#parts;
    const interval = options.intervalMs;
    const place = Math.floor((segments.all.length * (clock.now() % interval)) / interval);
    return (segments.all[place]?.firstOffset ?? 1) - 1;
  }

  async #check(segment: Segment): Promise<void> {
    const { segments, gate, report } = this.#parts;
    const frames = new FrameReader(segment, gate, segment.header.framesAt);
    let crc: number | undefined;
    let seen = frames.buffer;
    try {
      await this.#checkHeader(segment);
      while (await frames.next()) {
        if (crc !== undefined && frames.header.previousCrc !== crc)
          throw readDamage(segment, { position: frames.position, what: 'the frame does not follow the one before it' });
        crc = frames.header.crc;
        if (frames.buffer === seen) continue;
        seen = frames.buffer;
        await this.#pace(seen.length, segment, frames.position);
        if (this.#stopped) return;
      }
    } catch (error) {
      // retention or a rewrite may have taken the file away
      if (!segments.all.includes(segment)) return;
      const met = error instanceof LogDamaged ? error.damages[0] : undefined;
      const damage = frames.placed(met ?? { segment: segment.name, what: `it cannot be read: ${String(error)}` });
      this.damages++;
      report({
        level: 'error',
        kind: 'scrub',
        message: `found while re-reading the log: ${describeDamage(damage)}. Run \`tailrace log verify\` to see all of it; put the file back from a backup, or stop the server and run \`tailrace log repair\``,
        ...placeOf(damage),
      });
    }
  }

  async #checkHeader(segment: Segment): Promise<void> {
    const buffer = Buffer.alloc(segmentHeaderBytes);
    const read = await readInto(buffer, segment, this.#parts.gate, 0);
    const header = decodeSegmentHeader(buffer.subarray(0, read));
    if (typeof header === 'string') throw readDamage(segment, { position: 0, what: header });
  }

  /** So many bytes were read: waits until more may be. */
  async #pace(bytes: number, segment: Segment, position: number): Promise<void> {
    this.bytes += bytes;
    this.#budget -= bytes;
    this.#arrive(segment, position);
    if (this.#budget <= 0 || this.#parts.busy()) await this.#nextTick();
  }

  #arrive(segment: Segment, position: number): void {
    let before = 0;
    for (const other of this.#parts.segments.all) if (other.firstOffset < segment.firstOffset) before += other.end;
    this.progress = (before + position) / this.#parts.segments.bytes;
  }

  #nextTick(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise(resolve => {
      this.#goOn = () => {
        this.#goOn = undefined;
        resolve();
      };
    });
  }
}
