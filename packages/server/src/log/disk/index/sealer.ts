import type { Clock } from '../../clock.ts';
import type { LogReport } from '../../report.ts';
import type { Filling, Preparer } from '../commit/preparer.ts';
import { type Disk, ignoreMissing } from '../files/disk.ts';
import { type Housework, HouseworkLost } from '../housework/housework.ts';
import { stateOf } from '../housework/segment-state.ts';
import { endOfScan, scanSegment } from '../segment/scan.ts';
import type { Segment } from '../segment/segment.ts';
import { readDamage, readInto } from '../segment/segment-bytes.ts';
import { ActiveIndex } from './active-index.ts';
import { indexSegment } from './index-segment.ts';
import { installIndex, writeIndex } from './index-writer.ts';
import { type IndexReading, SealedIndex } from './sealed-index.ts';

export interface SealerParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  /** Of this owner: see `SweepJob`. */
  readonly run: number;
  readonly housework: Housework;
  readonly reading: IndexReading;
  readonly preparer: Preparer;
  readonly report: (report: LogReport) => void;
}

/** Fewer are not worth another thread: their index is written in some dozens of slices. */
const manyRecords = 10_000;

/** Finishes complete segments in the background, one after another: cuts the file to its length, writes the index. */
export class Sealer {
  readonly #parts: SealerParts;
  #last: Promise<void> = Promise.resolve();

  constructor(parts: SealerParts) {
    this.#parts = parts;
  }

  /** `filling` is the file the segment was written through; undefined for one that recovery took. */
  seal(segment: Segment, filling: Filling | undefined): void {
    segment.sealed = true;
    this.#last = this.#last
      .then(() => this.#seal(segment, filling))
      .catch(error => {
        // its index stays in memory, and the next start scans it
        this.#parts.report({
          level: 'warn',
          kind: 'seal_failed',
          message: `the index of ${segment.name} could not be written: ${String(error)}`,
          at: { segment: segment.name },
        });
      });
  }

  /** The segment is nearly full. */
  prepareFor(segment: Segment): void {
    if (segment.records >= manyRecords) this.#parts.housework.prepare();
  }

  /** Builds the index of a sealed segment anew from its frames; rejects when those are damaged. */
  async rebuild(segment: Segment, why: string): Promise<void> {
    const { reading, report } = this.#parts;
    await this.#last;
    if (segment.index instanceof ActiveIndex) return;
    const buffer = Buffer.allocUnsafeSlow(segment.end);
    const got = await readInto(buffer, segment, reading.gate, 0);
    const scan = scanSegment(buffer.subarray(0, got), segment.header);
    if (scan.bad !== undefined || scan.end !== segment.end)
      throw readDamage(segment, { offset: scan.last + 1, ...endOfScan(scan) });
    indexSegment(segment, buffer, scan.frames);
    reading.cache.forget(`${segment.name} `);
    report({ level: 'warn', kind: 'index_rebuilt', message: `${why}: built anew`, at: { segment: segment.name } });
    this.seal(segment, undefined);
  }

  /** Resolves when all that was asked for is done. */
  settled(): Promise<void> {
    return this.#last;
  }

  async #seal(segment: Segment, filling: Filling | undefined): Promise<void> {
    const { disk, clock, reading, preparer } = this.#parts;
    if (filling !== undefined) {
      await preparer.leave(filling);
      await filling.file.truncate(segment.end);
      await filling.file.sync();
      await filling.file.close();
    }
    if (segment.records === 0 || segment.uncut || !(segment.index instanceof ActiveIndex)) return;
    if (segment.records < manyRecords) await writeIndex(disk, clock, segment);
    else await this.#writeElsewhere(segment);
    segment.index = await SealedIndex.open(segment, reading);
  }

  async #writeElsewhere(segment: Segment): Promise<void> {
    const { disk, clock, directory, run, housework } = this.#parts;
    const temporary = `${segment.indexPath}.${run}.tmp`;
    try {
      await housework.writeIndex({ directory, segment: stateOf(segment), temporary });
    } catch (error) {
      if (!(error instanceof HouseworkLost)) throw error;
      await disk.unlink(temporary).catch(ignoreMissing);
      await writeIndex(disk, clock, segment);
      return;
    }
    await installIndex(disk, segment, temporary);
  }
}
