import * as path from 'node:path';
import type { Clock } from '../../clock.ts';
import type { LogReport, OffsetRange } from '../../report.ts';
import { type Disk, isNoSpace } from '../files/disk.ts';
import { breakWasAccepted, type EpochsFile, lossWasAccepted } from '../files/epochs-file.ts';
import type { Identity } from '../files/identity.ts';
import type { OpenFiles } from '../files/open-files.ts';
import { indexSegment } from '../index/index-segment.ts';
import { type IndexReading, openSealed } from '../index/sealed-index.ts';
import type { Damage } from '../segment/damage.ts';
import { readAll, readHeader } from '../segment/read-segment.ts';
import { endOfScan, type ScannedFrame, type SegmentScan, scanSegment } from '../segment/scan.ts';
import { Segment } from '../segment/segment.ts';
import { type SegmentHeader, segmentHeaderBytes } from '../segment/segment-header.ts';
import { indexName, type SegmentName, segmentGenerations, segmentName } from '../segment/segment-name.ts';
import { type WrittenSegment, writeSegment } from '../segment/segment-writer.ts';
import { Findings } from './findings.ts';
import { belongs, notFitting, whatIsBroken } from './generation.ts';
import { Mending } from './mending.ts';
import { runsBehind } from './runs.ts';
import { type Saved, salvage } from './salvage.ts';

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
 * A segment that another one follows must be complete, since the next is only created when it has been synced; and the
 * next names its last frame, so that a file which was put in the place of another is found.
 *
 * Of a segment that was being rewritten two generations may be there. The older one goes only when the newer has been read
 * and is whole; when it is not, and the older one is, loss need not be: that takes its place.
 *
 * Names that an earlier process gave may only be in memory as well: they are synced before any file is cut or removed for
 * the sake of another.
 */
export async function recover(parts: RecoveryParts): Promise<Recovered> {
  return new Recovery(parts).run();
}

class Recovery {
  readonly #parts: RecoveryParts;
  readonly #mending: Mending;
  readonly #segments: Segment[] = [];
  readonly #findings = new Findings();
  /** Offset up to which everything is accounted for. */
  #head = 0;
  /** The segment that the next must follow; undefined when it cannot be known. */
  #before: Segment | undefined;
  #nextSegment = 1;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
    this.#mending = new Mending(parts);
  }

  async run(): Promise<Recovered> {
    const { epochs, directory, acceptLoss, report } = this.#parts;
    this.#nextSegment = epochs?.nextSegment ?? 1;
    const segments = await this.#cleanUp();
    const names = segments.map(([newest]) => newest);
    for (let i = 0; i < segments.length; i++) await this.#generations(segments[i]!, names[i + 1]);
    const began = epochs?.starts[epochs.starts.length - 1]?.first ?? 1;
    if (began - 1 > this.#head) this.#missing(began - 1, names[names.length - 1]?.name ?? 'none');
    this.#findings.judge(directory, acceptLoss, this.#mending.uncopied, report);
    return { segments: this.#segments, head: this.#head, nextSegment: this.#nextSegment, lost: this.#findings.lost };
  }

  /** Removes what unfinished work left behind; returns the segments in order, of each the generations that are there. */
  async #cleanUp(): Promise<[SegmentName, ...SegmentName[]][]> {
    const { disk, directory } = this.#parts;
    await disk.syncDirectory(directory);
    const files = await disk.list(directory);
    const segments = segmentGenerations(files);
    const indexes = new Set(segments.flat().map(({ name }) => indexName(name)));
    for (const file of files)
      if (file.endsWith('.tmp') || (file.endsWith('.idx') && !indexes.has(file)))
        await disk.unlink(path.join(directory, file));
    return segments;
  }

  /** The newest generation counts. Those it replaced go when it is found to be whole, and one takes its place when not. */
  async #generations(
    [newest, ...older]: readonly [SegmentName, ...SegmentName[]],
    next: SegmentName | undefined,
  ): Promise<void> {
    const { acceptLoss, report } = this.#parts;
    const what = older.length === 0 ? undefined : await whatIsBroken(this.#parts, newest, next);
    if (what === undefined) {
      for (const { name } of older) await this.#mending.remove(name);
      await this.#segment(newest, next);
      return;
    }
    for (const [i, whole] of older.entries()) {
      if ((await whatIsBroken(this.#parts, whole, next)) !== undefined) continue;
      await this.#mending.fileAside(newest.name);
      if (!acceptLoss) {
        this.#findings.replaceable(newest, what, whole.name);
        this.#before = undefined;
        if (next !== undefined) this.#head = Math.max(this.#head, next.firstOffset - 1);
        return;
      }
      for (const { name } of [newest, ...older.slice(0, i)]) await this.#mending.remove(name);
      report({
        level: 'warn',
        kind: 'generation_restored',
        message: `${newest.name} is broken (${what}) and kept in quarantine/: ${whole.name}, which it was to replace, is whole and takes its place`,
        at: { segment: newest.name, offset: newest.firstOffset },
      });
      return this.#generations([whole, ...older.slice(i + 1)], next);
    }
    const damages = this.#findings.count;
    // what is bad in it is met without its index
    await this.#segment(newest, next, 'scan');
    if (this.#findings.count > damages && !acceptLoss) return;
    for (const { name } of older) {
      await this.#mending.fileAside(name);
      await this.#mending.remove(name);
    }
  }

  async #segment(name: SegmentName, next: SegmentName | undefined, read: 'index' | 'scan' = 'index'): Promise<void> {
    const { disk, directory, files, reading, report } = this.#parts;
    const file = path.join(directory, name.name);
    const header = await readHeader(disk, file);
    if (typeof header === 'string' || !belongs(this.#parts.identity, header, name)) {
      const what = typeof header === 'string' ? header : notFitting;
      const to = next === undefined ? undefined : next.firstOffset - 1;
      await this.#damaged({ segment: name.name, position: 0, offset: name.firstOffset, what }, name.firstOffset, to);
      if (this.#parts.acceptLoss) await this.#mending.remove(name.name);
      return;
    }
    if (header.firstOffset > this.#head + 1 && this.#segments.length > 0)
      this.#missing(header.firstOffset - 1, name.name);
    this.#head = Math.max(this.#head, header.firstOffset - 1);
    this.#nextSegment = Math.max(this.#nextSegment, header.number + 1);
    this.#checkOrder(header, name.name);
    const segment = new Segment(files, directory, header);
    const footer = await openSealed(segment, reading, ({ message }) =>
      report({
        level: 'warn',
        kind: 'index_rebuilt',
        message: `${message}: all of the segment is read, and the index built anew`,
        at: { segment: segment.name },
      }),
    );
    const trusted = segment.sealed && read === 'index';
    if (trusted && (next === undefined || segment.lastOffset < next.firstOffset)) this.#take(segment);
    else await this.#scan(segment, next, footer?.lastOffset ?? 0);
  }

  /** By a break no record is lost, and nobody can tell which of the two files is the wrong one: both stay. */
  #checkOrder(header: SegmentHeader, name: string): void {
    const before = this.#before;
    const first = header.firstOffset;
    if (before === undefined || header.previousCrc === before.chainCrc) return;
    if (breakWasAccepted(this.#parts.epochs, first)) return;
    this.#findings.break(name, first, before.name);
  }

  /** `sealedTo`: the offset up to which the segment was complete when its index was written. */
  async #scan(segment: Segment, next: SegmentName | undefined, sealedTo: number): Promise<void> {
    const buffer = await readAll(this.#parts.disk, segment.path);
    const scan = scanSegment(buffer, segment.header);
    // a copy made by a recovery that did not get to cut this file: the copy counts
    const overlap =
      next === undefined ? undefined : scan.frames.find(frame => frame.count > 0 && frame.last >= next.firstOffset);
    if (overlap !== undefined && overlap.first === next!.firstOffset) {
      await this.#keep(segment, buffer, scan.frames.slice(0, scan.frames.indexOf(overlap)));
      return;
    }
    const known = Math.max(scan.durable, sealedTo, segment.header.rewritten?.lastOffset ?? 0);
    // an owner that did not know yet that it was replaced may have written here behind what the next segment holds
    let needed = Math.min(known, (next?.firstOffset ?? Number.POSITIVE_INFINITY) - 1);
    // the next segment was begun when this one was complete; only accepted loss lies between
    if (next !== undefined && !lossWasAccepted(this.#parts.epochs, scan.last + 1, next.firstOffset - 1))
      needed = Math.max(needed, next.firstOffset - 1);
    if (scan.last < needed) {
      await this.#corrupt(segment, buffer, scan, needed, next);
      return;
    }
    if (scan.bad !== undefined) await this.#mending.keepTail(segment, buffer, scan);
    if (next !== undefined) {
      await this.#keep(segment, buffer, scan.frames);
      return;
    }
    const durableFrames = scan.frames.filter(frame => frame.last <= scan.durable);
    const rest = scan.frames.slice(durableFrames.length).filter(frame => frame.count > 0);
    // a copy leads to a cut, which would take along what could not be kept aside
    if (rest.length > 0 && !segment.uncut && (await this.#copy(segment, buffer, durableFrames, rest))) return;
    await this.#mending.writeAgain(segment, buffer, scan, rest[0]);
    await this.#keep(segment, buffer, scan.frames);
  }

  /** Cuts the file behind `frames`, syncs it and takes it. */
  async #keep(segment: Segment, buffer: Buffer, frames: readonly ScannedFrame[]): Promise<void> {
    const last = frames[frames.length - 1];
    const end = last === undefined ? segment.header.framesAt : last.position + last.length;
    if (segment.header.rewritten === undefined && !frames.some(frame => frame.count > 0)) {
      // without records it is not needed: the next segment, or the start that follows, carries its first offset on
      await this.#mending.removeEmpty(segment);
      return;
    }
    if (end < buffer.length && !segment.uncut) await this.#mending.cut(segment, end);
    indexSegment(segment, buffer, frames);
    this.#take(segment);
  }

  /**
   * What may never have reached the disk goes into a segment of its own, synced, before it is trusted. False when there
   * is no room for that: then nothing was changed.
   */
  async #copy(
    segment: Segment,
    buffer: Buffer,
    durable: readonly ScannedFrame[],
    rest: readonly ScannedFrame[],
  ): Promise<boolean> {
    const { disk, directory, clock, report } = this.#parts;
    const first = rest[0]!.first;
    const sameName = first === segment.firstOffset;
    const header: SegmentHeader = {
      ...segment.header,
      firstOffset: first,
      generation: sameName ? segment.header.generation + 1 : 0,
      number: this.#nextSegment++,
      created: clock.now(),
      // one of the same name takes the place of the whole file, with what stands before its first record
      previousCrc: sameName ? segment.header.previousCrc : durable[durable.length - 1]!.crc,
    };
    let copied: WrittenSegment;
    try {
      copied = await writeSegment(disk, directory, header, segment, buffer, rest);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      return false;
    }
    if (sameName) await this.#mending.remove(segment.name);
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
    return true;
  }

  /** Damage among what was durable: refused, or, when loss is accepted, all that is whole is saved around it. */
  async #corrupt(
    segment: Segment,
    buffer: Buffer,
    scan: SegmentScan,
    needed: number,
    next: SegmentName | undefined,
  ): Promise<void> {
    const { name } = segment;
    await this.#mending.copyAside(name, buffer.subarray(0, Math.max(scan.dataEnd, segment.header.framesAt)));
    const runs = this.#runs(segment, buffer, scan, needed);
    const savedTo = Math.max(scan.last, ...runs.map(run => run[run.length - 1]!.last));
    const place = endOfScan(scan);
    let before = scan.last;
    const lost: OffsetRange[] = [];
    // with the file go its marks: who comes from below it cannot be told any more what rules had dropped from it
    if (segment.header.rewritten !== undefined) this.#findings.lost.push({ from: segment.firstOffset, to: needed });
    for (const run of runs) {
      if (run[0]!.first > before + 1) lost.push({ from: before + 1, to: run[0]!.first - 1 });
      before = run[run.length - 1]!.last;
    }
    if (before < needed) lost.push({ from: before + 1, to: needed });
    for (const range of lost) this.#findings.damage({ segment: name, ...place, offset: range.from, lost: range });
    this.#head = Math.max(needed, savedTo);
    if (this.#parts.acceptLoss) await this.#saveRuns(segment, buffer, runs, next);
    // its last frame is another one now, or nobody knows it
    this.#before = undefined;
  }

  /** What can be saved, in stretches without a hole: whole frames, and of others the whole records that were durable. */
  #runs({ header }: Segment, buffer: Buffer, scan: SegmentScan, needed: number): Saved[][] {
    const whole = [{ frames: scan.frames, bad: scan.bad }, ...runsBehind(buffer, header, scan)];
    const runs: Saved[][] = [];
    let last = header.firstOffset - 1;
    const add = (stretch: readonly Saved[]): void => {
      const [first] = stretch;
      if (first === undefined) return;
      if (first.first === last + 1 && runs.length > 0) runs[runs.length - 1]!.push(...stretch);
      else runs.push([...stretch]);
      last = stretch[stretch.length - 1]!.last;
    };
    for (const [i, { frames, bad }] of whole.entries()) {
      add(frames.filter(frame => frame.count > 0));
      if (bad === undefined || !this.#parts.acceptLoss) continue;
      const behind = whole[i + 1]?.frames[0];
      const part = {
        from: bad.position,
        to: behind?.position ?? buffer.length,
        first: last + 1,
        last: Math.min(needed, (behind?.first ?? Number.POSITIVE_INFINITY) - 1),
      };
      for (const saved of salvage(buffer, header, part)) add([saved]);
    }
    return runs;
  }

  async #saveRuns(
    segment: Segment,
    buffer: Buffer,
    runs: readonly (readonly Saved[])[],
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
        framesAt: segmentHeaderBytes,
        rewritten: undefined,
      };
      await disk.unlink(path.join(directory, segmentName(first, header.generation))).catch(() => undefined);
      const copy = await writeSegment(disk, directory, header, segment, buffer, records);
      indexSegment(copy.segment, copy.buffer, copy.frames);
      saved.unshift(copy.segment);
    }
    await this.#mending.remove(segment.name);
    for (const copy of saved) this.#take(copy);
    if (next !== undefined) this.#findings.seam(next.firstOffset);
  }

  #take(segment: Segment): void {
    segment.sealed = true;
    this.#before = segment;
    this.#segments.push(segment);
    this.#head = Math.max(this.#head, segment.lastOffset);
  }

  #missing(to: number, segment: string): void {
    const lost = { from: this.#head + 1, to };
    this.#before = undefined;
    if (lossWasAccepted(this.#parts.epochs, lost.from, lost.to)) {
      this.#head = to;
      return;
    }
    this.#findings.damage({ segment, offset: lost.from, what: 'the records before it are missing', lost });
    this.#head = to;
  }

  async #damaged(damage: Damage, from: number, to: number | undefined): Promise<void> {
    const { disk, directory } = this.#parts;
    this.#before = undefined;
    await this.#mending.copyAside(damage.segment, await readAll(disk, path.join(directory, damage.segment)));
    this.#findings.damage(to === undefined ? damage : { ...damage, lost: { from, to } });
    if (to !== undefined) this.#head = Math.max(this.#head, to);
  }
}
