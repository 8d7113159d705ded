import * as path from 'node:path';
import type { Clock } from '../clock.ts';
import type { LogReport, OffsetRange } from '../report.ts';
import { type Damage, describeDamage, LogDamaged } from './damage.ts';
import type { Disk } from './disk.ts';
import { type EpochsFile, lossWasAccepted } from './epochs-file.ts';
import type { Identity } from './identity.ts';
import { indexSegment } from './index-segment.ts';
import type { OpenFiles } from './open-files.ts';
import { copyAside } from './quarantine.ts';
import { readAll, readHeader } from './read-segment.ts';
import { runsBehind } from './runs.ts';
import { type ScannedFrame, type SegmentScan, scanSegment } from './scan.ts';
import { type IndexReading, openSealed } from './sealed-index.ts';
import { Segment } from './segment.ts';
import type { SegmentHeader } from './segment-header.ts';
import { indexName, parseSegmentName, type SegmentName, segmentName } from './segment-name.ts';
import { writeSegment } from './segment-writer.ts';

export interface RecoveryParts {
  readonly disk: Disk;
  readonly files: OpenFiles;
  readonly reading: IndexReading;
  readonly clock: Clock;
  readonly directory: string;
  readonly identity: Identity;
  readonly epochs: EpochsFile | undefined;
  readonly acceptLoss: boolean;
  readonly report: (report: LogReport) => void;
}

export interface Recovered {
  readonly segments: readonly Segment[];
  /** The newest offset that was ever given out, as far as the files know. */
  readonly head: number;
  readonly nextSegment: number;
  readonly lost: readonly OffsetRange[];
}

/**
 * Brings the files into a state that can be trusted, and never appends to one that an earlier process wrote.
 *
 * Sealed segments are taken as they are: their index names their length and last frame. All others are scanned. At the
 * first bad place, with h the last good offset:
 *
 *      ... good ... h │ bad │ ... a valid header with durable > h ...   corruption: what was synced is gone. Stop.
 *      ... good ... h │ bad │ ... none ...                              never synced: cut, kept aside, reported.
 *      ... durable D ... good ... h │ nothing                           (D, h] may only be in the page cache: copied
 *                                                                       into a new segment and synced, then cut here.
 *
 * A segment that another one follows must be complete, since the next is only created when it has been synced.
 */
export async function recover(parts: RecoveryParts): Promise<Recovered> {
  return new Recovery(parts).run();
}

class Recovery {
  readonly #parts: RecoveryParts;
  readonly #segments: Segment[] = [];
  readonly #lost: OffsetRange[] = [];
  readonly #damages: Damage[] = [];
  /** Offset up to which everything is accounted for. */
  #head = 0;
  #nextSegment = 1;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  async run(): Promise<Recovered> {
    const { epochs, directory, acceptLoss } = this.#parts;
    this.#nextSegment = epochs?.nextSegment ?? 1;
    const names = await this.#cleanUp();
    for (let i = 0; i < names.length; i++) await this.#segment(names[i]!, names.slice(i + 1));
    const began = epochs?.starts[epochs.starts.length - 1]?.first ?? 1;
    if (began - 1 > this.#head) this.#missing(began - 1, names[names.length - 1]?.name ?? 'none');
    if (this.#damages.length > 0) {
      if (!acceptLoss)
        throw new LogDamaged(
          directory,
          this.#damages,
          'Nothing was changed; copies are in quarantine/. To go on without what is lost, start once with --accept-loss.',
        );
      this.#parts.report({
        level: 'error',
        kind: 'loss_accepted',
        message: `loss accepted: ${this.#damages.map(describeDamage).join('; ')}`,
        lost: this.#lost,
      });
    }
    return { segments: this.#segments, head: this.#head, nextSegment: this.#nextSegment, lost: this.#lost };
  }

  /** Removes what unfinished work left behind; returns the segments in order, of each the newest generation. */
  async #cleanUp(): Promise<SegmentName[]> {
    const { disk, directory } = this.#parts;
    const files = await disk.list(directory);
    const names = files.map(parseSegmentName).filter(name => name !== undefined);
    names.sort((a, b) => a.firstOffset - b.firstOffset || b.generation - a.generation);
    const kept = names.filter((name, i) => name.firstOffset !== names[i - 1]?.firstOffset);
    const indexes = new Set(kept.map(name => indexName(name.name)));
    for (const file of files) {
      const replaced = parseSegmentName(file) !== undefined && !kept.some(name => name.name === file);
      if (file.endsWith('.tmp') || (file.endsWith('.idx') && !indexes.has(file)) || replaced)
        await disk.unlink(path.join(directory, file));
    }
    return kept;
  }

  async #segment(name: SegmentName, following: readonly SegmentName[]): Promise<void> {
    const { disk, directory, files, reading } = this.#parts;
    const file = path.join(directory, name.name);
    const next = following[0];
    const header = await readHeader(disk, file);
    if (typeof header === 'string' || !this.#belongs(header, name)) {
      const what = typeof header === 'string' ? header : 'the segment header does not fit the file name or the log';
      const to = next === undefined ? undefined : next.firstOffset - 1;
      await this.#damaged({ segment: name.name, position: 0, offset: name.firstOffset, what }, name.firstOffset, to);
      if (this.#parts.acceptLoss) await this.#remove(name.name);
      return;
    }
    if (header.firstOffset > this.#head + 1 && this.#segments.length > 0)
      this.#missing(header.firstOffset - 1, name.name);
    this.#head = Math.max(this.#head, header.firstOffset - 1);
    this.#nextSegment = Math.max(this.#nextSegment, header.number + 1);
    const segment = new Segment(files, directory, header);
    if (await openSealed(segment, reading)) {
      if (next === undefined || segment.lastOffset < next.firstOffset) {
        this.#take(segment);
        return;
      }
    }
    await this.#scan(segment, next);
  }

  async #scan(segment: Segment, next: SegmentName | undefined): Promise<void> {
    const buffer = await readAll(this.#parts.disk, segment.path);
    const scan = scanSegment(buffer, segment.header);
    // a copy made by a recovery that did not get to cut this file: the copy counts
    const overlap =
      next === undefined ? undefined : scan.frames.find(frame => frame.count > 0 && frame.last >= next.firstOffset);
    if (overlap !== undefined && overlap.first === next!.firstOffset) {
      await this.#keep(segment, buffer, scan.frames.slice(0, scan.frames.indexOf(overlap)));
      return;
    }
    let needed = scan.durable;
    // the next segment was begun when this one was complete; only accepted loss lies between
    if (next !== undefined && !lossWasAccepted(this.#parts.epochs, scan.last + 1, next.firstOffset - 1))
      needed = Math.max(needed, next.firstOffset - 1);
    if (scan.last < needed) {
      await this.#corrupt(segment, buffer, scan, needed, next);
      return;
    }
    if (scan.bad !== undefined) await this.#cutTail(segment, buffer, scan);
    if (next !== undefined) {
      await this.#keep(segment, buffer, scan.frames);
      return;
    }
    const durableFrames = scan.frames.filter(frame => frame.last <= scan.durable);
    const rest = scan.frames.slice(durableFrames.length).filter(frame => frame.count > 0);
    if (rest.length > 0) await this.#copy(segment, buffer, durableFrames, rest);
    else await this.#keep(segment, buffer, scan.frames);
  }

  /** Cuts the file behind `frames`, syncs it and takes it. */
  async #keep(segment: Segment, buffer: Buffer, frames: readonly ScannedFrame[]): Promise<void> {
    const { disk } = this.#parts;
    const last = frames[frames.length - 1];
    const end = last === undefined ? segment.header.framesAt : last.position + last.length;
    if (!frames.some(frame => frame.count > 0)) {
      // without records it is not needed: the next segment, or the start that follows, carries its first offset on
      await this.#remove(segment.name);
      return;
    }
    if (end < buffer.length) {
      const file = await disk.open(segment.path, 'write');
      try {
        await file.truncate(end);
        await file.sync();
      } finally {
        await file.close();
      }
    }
    indexSegment(segment, buffer, frames);
    this.#take(segment);
  }

  /** What may never have reached the disk goes into a segment of its own, synced, before it is trusted. */
  async #copy(
    segment: Segment,
    buffer: Buffer,
    durable: readonly ScannedFrame[],
    rest: readonly ScannedFrame[],
  ): Promise<void> {
    const { disk, directory, clock, report } = this.#parts;
    const first = rest[0]!.first;
    const sameName = first === segment.firstOffset;
    const header: SegmentHeader = {
      ...segment.header,
      firstOffset: first,
      generation: sameName ? segment.header.generation + 1 : 0,
      number: this.#nextSegment++,
      created: clock.now(),
      previousCrc: durable[durable.length - 1]?.crc ?? segment.header.previousCrc,
    };
    const copied = await writeSegment(disk, directory, header, segment, buffer, rest);
    if (sameName) await this.#remove(segment.name);
    else await this.#keep(segment, buffer, durable);
    indexSegment(copied.segment, copied.buffer, copied.frames);
    this.#take(copied.segment);
    report({
      level: 'info',
      kind: 'tail_copied',
      message: `offsets ${first} to ${this.#head} were not known to be synced: copied to ${copied.segment.name}`,
      at: { segment: segment.name, position: rest[0]!.position, offset: first },
      bytes: rest.reduce((sum, frame) => sum + frame.length, 0),
    });
  }

  async #cutTail(segment: Segment, buffer: Buffer, scan: SegmentScan): Promise<void> {
    const bytes = buffer.subarray(scan.bad!.position, scan.dataEnd);
    const { disk, directory, report } = this.#parts;
    const kept = await copyAside(disk, directory, `${segment.name}.${scan.bad!.position}.cut`, bytes);
    report({
      level: 'warn',
      kind: 'tail_cut',
      message: `${segment.name}: ${bytes.length} bytes behind offset ${scan.last} are no whole frame (${scan.bad!.what}) and were never known to be synced: cut, kept as ${kept}`,
      at: { segment: segment.name, frame: scan.bad!.frame, position: scan.bad!.position, offset: scan.last + 1 },
      bytes: bytes.length,
    });
  }

  /** Damage among what was durable: refused, or, when loss is accepted, all whole frames are saved around it. */
  async #corrupt(
    segment: Segment,
    buffer: Buffer,
    scan: SegmentScan,
    needed: number,
    next: SegmentName | undefined,
  ): Promise<void> {
    const { disk, directory, acceptLoss } = this.#parts;
    const { name } = segment;
    await copyAside(disk, directory, name, buffer.subarray(0, Math.max(scan.dataEnd, segment.header.framesAt)));
    const runs = [scan.frames, ...runsBehind(buffer, segment.header, scan).map(run => run.frames)].filter(run =>
      run.some(frame => frame.count > 0),
    );
    const savedTo = Math.max(scan.last, ...runs.map(run => run[run.length - 1]!.last));
    const place = scan.bad ?? { frame: scan.frames.length, position: scan.end, what: 'frames are missing' };
    let before = scan.last;
    const lost: OffsetRange[] = [];
    for (const run of runs) {
      if (run[0]!.first > before + 1) lost.push({ from: before + 1, to: run[0]!.first - 1 });
      before = run[run.length - 1]!.last;
    }
    if (before < needed) lost.push({ from: before + 1, to: needed });
    for (const range of lost) {
      this.#lost.push(range);
      this.#damages.push({
        segment: name,
        frame: place.frame,
        position: place.position,
        offset: range.from,
        what: place.what,
        lost: range,
      });
    }
    this.#head = Math.max(needed, savedTo);
    if (!acceptLoss) return;
    await this.#saveRuns(segment, buffer, runs, next);
  }

  async #saveRuns(
    segment: Segment,
    buffer: Buffer,
    runs: readonly (readonly ScannedFrame[])[],
    next: SegmentName | undefined,
  ): Promise<void> {
    const { disk, directory, clock } = this.#parts;
    const saved: Segment[] = [];
    // the one that takes the damaged file's place comes last: until then a new start begins again
    for (const frames of [...runs].reverse()) {
      const records = frames.filter(frame => frame.count > 0);
      const first = records[0]!.first;
      if (next !== undefined && first >= next.firstOffset) continue;
      const header: SegmentHeader = {
        ...segment.header,
        firstOffset: first,
        generation: segment.header.generation + 1,
        number: this.#nextSegment++,
        created: clock.now(),
      };
      await disk.unlink(path.join(directory, segmentName(first, header.generation))).catch(() => undefined);
      const copy = await writeSegment(disk, directory, header, segment, buffer, records);
      indexSegment(copy.segment, copy.buffer, copy.frames);
      saved.unshift(copy.segment);
    }
    await this.#remove(segment.name);
    for (const copy of saved) this.#take(copy);
  }

  #take(segment: Segment): void {
    segment.sealed = true;
    this.#segments.push(segment);
    this.#head = Math.max(this.#head, segment.lastOffset);
  }

  #belongs(header: SegmentHeader, name: SegmentName): boolean {
    const { identity } = this.#parts;
    return (
      header.firstOffset === name.firstOffset &&
      header.generation === name.generation &&
      header.logId === identity.id &&
      Buffer.compare(header.secret, identity.secret) === 0
    );
  }

  #missing(to: number, segment: string): void {
    const lost = { from: this.#head + 1, to };
    if (lossWasAccepted(this.#parts.epochs, lost.from, lost.to)) {
      this.#head = to;
      return;
    }
    this.#lost.push(lost);
    this.#damages.push({ segment, offset: lost.from, what: 'the records before it are missing', lost });
    this.#head = to;
  }

  async #damaged(damage: Damage, from: number, to: number | undefined): Promise<void> {
    const { disk, directory } = this.#parts;
    const bytes = await readAll(disk, path.join(directory, damage.segment));
    await copyAside(disk, directory, damage.segment, bytes);
    const lost = to === undefined ? undefined : { from, to };
    if (lost !== undefined) this.#lost.push(lost);
    this.#damages.push(lost === undefined ? damage : { ...damage, lost });
    if (to !== undefined) this.#head = Math.max(this.#head, to);
  }

  async #remove(name: string): Promise<void> {
    const { disk, directory, files } = this.#parts;
    await files.forget(path.join(directory, name));
    await disk.unlink(path.join(directory, name));
    await disk.unlink(path.join(directory, indexName(name))).catch(() => undefined);
    await disk.syncDirectory(directory);
  }
}
