import * as path from 'node:path';
import type { OffsetRange } from '../../report.ts';
import { marksOf } from '../compaction/marks.ts';
import { checkCheckpoint } from '../dedupe/checkpoint-format.ts';
import { deletionsName, describeTorn, readDeletions } from '../deletion/deletions-file.ts';
import type { Disk } from '../files/disk.ts';
import { breakWasAccepted, type EpochsFile, lossWasAccepted, readEpochs } from '../files/epochs-file.ts';
import { type Identity, readIdentity } from '../files/identity.ts';
import { nodeDisk } from '../files/node-disk.ts';
import { OpenFiles } from '../files/open-files.ts';
import { refuseUnfinished, unfinishedName } from '../files/unfinished.ts';
import type { ActiveIndex } from '../index/active-index.ts';
import { IndexCache } from '../index/index-cache.ts';
import { indexing } from '../index/index-segment.ts';
import type { Pause } from '../index/index-writer.ts';
import { IndexDamaged, SealedIndex } from '../index/sealed-index.ts';
import { Gate } from '../read/gate.ts';
import { describePassedOver, takenSegments } from '../recovery/generation.ts';
import { runsBehind } from '../recovery/runs.ts';
import { type Saved, salvage } from '../recovery/salvage.ts';
import { type Damage, LogDamaged, notFollowing } from '../segment/damage.ts';
import { readAll, readHeader } from '../segment/read-segment.ts';
import { endOfScan, type ScannedFrame, type SegmentScan, scanning } from '../segment/scan.ts';
import { Segment } from '../segment/segment.ts';
import type { SegmentHeader } from '../segment/segment-header.ts';
import { indexName, parseCheckpointName, type SegmentName } from '../segment/segment-name.ts';
import { inSlices } from '../segment/slices.ts';
import { readWhole, wholeIndexes } from './whole-files.ts';

export interface VerifyReport {
  readonly id: string | undefined;
  readonly segments: number;
  readonly records: number;
  readonly bytes: number;
  /** First and last offset that can be read; 0 without records. */
  readonly first: number;
  readonly last: number;
  /** Everything that cannot be what was written. Empty: the log is whole. */
  readonly damages: readonly Damage[];
  /** What is no damage: a tail that was never synced, a segment without index. */
  readonly notes: readonly string[];
}

/**
 * Reads every byte of a log and names each damage by segment, frame, position and offset. Changes nothing. Files for which
 * `belongs` says no are passed over. Work on what was read pauses now and then.
 */
export function verify(
  directory: string,
  disk: Disk = nodeDisk,
  belongs: (name: string) => boolean = () => true,
  pause: Pause = () => undefined,
): Promise<VerifyReport> {
  return new Verification(directory, disk, belongs, pause).run();
}

class Verification {
  readonly #directory: string;
  readonly #disk: Disk;
  readonly #belongs: (name: string) => boolean;
  readonly #pause: Pause;
  readonly #files: OpenFiles;
  readonly #damages: Damage[] = [];
  readonly #notes: string[] = [];
  #epochs: EpochsFile | undefined;
  #identity: Identity | undefined;
  /** The segment that the next must follow; undefined when it is not known how it ended. */
  #before:
    | { readonly name: string; readonly header: SegmentHeader; readonly frames: readonly ScannedFrame[] }
    | undefined;
  #memory: Buffer = Buffer.alloc(0);
  #records = 0;
  #bytes = 0;
  #first = 0;
  #last = 0;

  constructor(directory: string, disk: Disk, belongs: (name: string) => boolean, pause: Pause) {
    this.#directory = directory;
    this.#disk = disk;
    this.#belongs = belongs;
    this.#pause = pause;
    this.#files = new OpenFiles(wholeIndexes(disk));
  }

  async run(): Promise<VerifyReport> {
    if (this.#belongs(unfinishedName)) await refuseUnfinished(this.#directory, this.#disk);
    this.#identity = await this.#small('log.json', () => readIdentity(this.#disk, this.#directory));
    this.#epochs = await this.#small('epochs', () => readEpochs(this.#disk, this.#directory));
    const files = (await this.#disk.list(this.#directory)).filter(this.#belongs);
    await this.#term(files);
    await this.#checkpoints(files);
    if (files.includes(deletionsName)) await this.#deletions();
    const newest = await this.#taken(files);
    for (let i = 0; i < newest.length; i++)
      await this.#segment(newest[i]!, newest[i + 1], files.includes(indexName(newest[i]!.name)));
    const began = this.#epochs?.starts[this.#epochs.starts.length - 1]?.first ?? 1;
    if (began - 1 > this.#last && newest.length > 0) this.#hole(began - 1, newest[newest.length - 1]!.name);
    await this.#files.close();
    return {
      id: this.#identity?.id,
      segments: newest.length,
      records: this.#records,
      bytes: this.#bytes,
      first: this.#first,
      last: this.#last,
      damages: this.#damages,
      notes: this.#notes,
    };
  }

  /** What a start would go on with; what is broken of the rest keeps it from starting until that is accepted. */
  async #taken(names: readonly string[]): Promise<readonly SegmentName[]> {
    const files = new OpenFiles(this.#disk);
    const parts = { disk: this.#disk, files, directory: this.#directory };
    const taken = await takenSegments({ ...parts, identity: this.#identity, epochs: this.#epochs }, names);
    await files.close();
    for (const found of taken.passedOver)
      this.#damages.push({ segment: found.name.name, offset: found.name.firstOffset, what: describePassedOver(found) });
    return taken.segments;
  }

  async #small<T>(name: string, read: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      const value = await read();
      if (value === undefined) this.#damages.push({ segment: name, what: 'the file is missing' });
      return value;
    } catch (error) {
      this.#damages.push({ segment: name, what: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  }

  /** No record depends on it: the next start writes its own. */
  async #term(files: readonly string[]): Promise<void> {
    const what = files.includes('term') ? await this.#termProblem() : 'the file is missing';
    if (what !== undefined) this.#notes.push(`term: ${what}; the next start writes it anew`);
  }

  async #termProblem(): Promise<string | undefined> {
    const text = (await readAll(this.#disk, path.join(this.#directory, 'term'))).toString();
    try {
      const term: unknown = JSON.parse(text);
      if (typeof term === 'object' && term !== null && 'pid' in term && 'token' in term) return undefined;
    } catch {
      // what it holds is said below
    }
    return `${JSON.stringify(text.slice(0, 100))} does not name the process that owned the directory`;
  }

  /** No record depends on them either, but publishes that are repeated may. */
  async #checkpoints(files: readonly string[]): Promise<void> {
    for (const name of files) {
      if (parseCheckpointName(name) === undefined) continue;
      const header = checkCheckpoint(await readAll(this.#disk, path.join(this.#directory, name)));
      if (typeof header === 'string')
        this.#damages.push({ segment: name, what: `${header}; the next start reads the newest of the log instead` });
    }
  }

  async #deletions(): Promise<void> {
    const found = await this.#small(deletionsName, () => readDeletions(this.#disk, this.#directory));
    if (found?.torn !== undefined) this.#notes.push(describeTorn(found.torn));
    if (found === undefined || found.pending.length === 0) return;
    this.#notes.push(
      `${deletionsName}: files may hold records of ${found.pending.length} deleted topics; a start goes on with it`,
    );
  }

  async #segment(name: SegmentName, next: SegmentName | undefined, indexed: boolean): Promise<void> {
    const file = path.join(this.#directory, name.name);
    const header = await readHeader(this.#disk, file);
    const wrong =
      typeof header === 'string'
        ? header
        : header.firstOffset !== name.firstOffset || header.generation !== name.generation
          ? 'the segment header does not fit the file name'
          : this.#identity !== undefined && header.logId !== this.#identity.id
            ? 'the segment belongs to another log'
            : undefined;
    if (typeof header === 'string' || wrong !== undefined) {
      const to = next === undefined ? undefined : next.firstOffset - 1;
      const lost = to === undefined ? {} : { lost: { from: name.firstOffset, to } };
      this.#damages.push({ segment: name.name, position: 0, offset: name.firstOffset, what: wrong!, ...lost });
      this.#last = Math.max(this.#last, to ?? 0);
      this.#before = undefined;
      return;
    }
    if (this.#first === 0) this.#first = header.firstOffset;
    else if (header.firstOffset > this.#last + 1) this.#hole(header.firstOffset - 1, name.name);
    this.#order(header, name.name);
    const segment = new Segment(this.#files, this.#directory, header);
    const buffer = await this.#contentOf(file);
    const scan = await inSlices(scanning(buffer, header), this.#pause);
    this.#before = { name: name.name, header, frames: scan.frames };
    const index = indexed ? await this.#footer(segment, scan, buffer) : undefined;
    await inSlices(indexing(segment, buffer, scan.frames), this.#pause);
    this.#records += segment.records;
    this.#bytes += buffer.length;
    const whole = this.#frames(segment, buffer, scan, next, index);
    if (header.rewritten !== undefined) await this.#marks(segment);
    this.#last = Math.max(this.#last, scan.last);
    if (whole && index !== undefined) await this.#compare(segment, index);
    await this.#files.forget(segment.indexPath);
  }

  /** Until the next segment is read: new memory for each costs more than reading it. */
  async #contentOf(file: string): Promise<Buffer> {
    const content = await readWhole(this.#disk, file, this.#memory);
    this.#memory = Buffer.from(content.buffer);
    return content;
  }

  #order(header: SegmentHeader, name: string): void {
    const before = this.#before;
    const first = header.firstOffset;
    // a copy of a tail overlaps the segment it was taken from when a recovery was cut short: the copy counts
    const last = before?.frames.findLast(frame => frame.last < first);
    const crc = before?.header.rewritten?.lastCrc ?? last?.crc;
    if (before === undefined || crc === undefined || header.previousCrc === crc) return;
    const what = notFollowing(before.name);
    if (breakWasAccepted(this.#epochs, first)) this.#notes.push(`${name}: ${what}; that was accepted`);
    else this.#damages.push({ segment: name, offset: first, what });
  }

  /** True when every frame that must be there is. */
  #frames(
    segment: Segment,
    buffer: Buffer,
    scan: SegmentScan,
    next: SegmentName | undefined,
    index: SealedIndex | undefined,
  ): boolean {
    const { name } = segment;
    const sealed = index?.footer.lastOffset ?? 0;
    let needed = Math.min(Math.max(scan.durable, sealed), (next?.firstOffset ?? Number.POSITIVE_INFINITY) - 1);
    if (next !== undefined && !lossWasAccepted(this.#epochs, scan.last + 1, next.firstOffset - 1))
      needed = Math.max(needed, next.firstOffset - 1);
    if (scan.bad === undefined && scan.last >= needed) return true;
    if (scan.last >= needed && sealed === 0) {
      const bytes = scan.dataEnd - scan.bad!.position;
      this.#notes.push(
        `${name}: ${bytes} bytes at position ${scan.bad!.position} behind offset ${scan.last} are no whole frame (${scan.bad!.what}) and were never known to be synced`,
      );
      return false;
    }
    let bad = endOfScan(scan);
    let last = scan.last;
    for (const run of runsBehind(buffer, segment.header, scan)) {
      const next = run.frames[0]!;
      this.#damage(segment, buffer, bad, { from: last + 1, to: next.first - 1 }, next.position);
      for (const frame of run.frames) this.#records += frame.count;
      last = Math.max(last, run.frames[run.frames.length - 1]!.last);
      if (run.bad === undefined) {
        if (last >= needed) {
          this.#last = Math.max(this.#last, last);
          return false;
        }
        bad = { frame: run.frames.length, position: scan.dataEnd, what: 'frames are missing' };
      } else bad = run.bad;
    }
    this.#damage(segment, buffer, bad, { from: last + 1, to: needed }, scan.dataEnd);
    this.#last = Math.max(this.#last, needed, last);
    return false;
  }

  /** `end`: where frames are whole again. Records inside that are whole are kept by a repair, and not counted as lost. */
  #damage(
    segment: Segment,
    buffer: Buffer,
    bad: { frame: number; position: number; what: string },
    missing: OffsetRange,
    end: number,
  ): void {
    this.#before = undefined;
    const { name: at, header } = segment;
    const place = { segment: at, ...bad, offset: missing.from };
    if (missing.to < missing.from) {
      this.#damages.push(place);
      return;
    }
    const part = { from: bad.position, to: end, first: missing.from, last: missing.to };
    const saved = salvage(buffer, header, part);
    for (const { count } of saved) this.#records += count;
    const lost = lostBetween(saved, missing);
    this.#damages.push({ ...place, ...(lost === undefined ? {} : { lost }) });
  }

  #hole(to: number, segment: string): void {
    const lost = { from: this.#last + 1, to };
    this.#before = undefined;
    if (lossWasAccepted(this.#epochs, lost.from, lost.to))
      this.#notes.push(`offsets ${lost.from} to ${lost.to} are missing; their loss was accepted`);
    else this.#damages.push({ segment, offset: lost.from, what: 'the records before it are missing', lost });
    this.#last = to;
  }

  /** What says which records rules have dropped: without it nobody could be told. */
  async #marks(segment: Segment): Promise<void> {
    try {
      // reading a block checks it
      for await (const _ of marksOf(segment, { cache: new IndexCache(), gate: new Gate(1) }));
    } catch (error) {
      if (!(error instanceof LogDamaged)) throw error;
      this.#damages.push(...error.damages);
    }
  }

  async #footer(segment: Segment, scan: SegmentScan, buffer: Buffer): Promise<SealedIndex | undefined> {
    const name = indexName(segment.name);
    try {
      const index = await SealedIndex.open(segment, { cache: new IndexCache(), gate: new Gate(1) });
      const { footer } = index;
      if (footer.number !== segment.header.number || footer.generation !== segment.header.generation)
        this.#damages.push({ segment: name, what: 'the index belongs to another segment' });
      else if (
        footer.length !== buffer.length ||
        (scan.bad === undefined &&
          (footer.lastOffset !== scan.last || footer.lastCrc !== scan.frames[scan.frames.length - 1]?.crc))
      )
        this.#damages.push({
          segment: name,
          what: `the index is for another segment, of ${footer.length} bytes up to offset ${footer.lastOffset}`,
        });
      else return index;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      this.#damages.push({ segment: name, what: error.message });
    }
    return undefined;
  }

  /** Every topic with every position, and the tables, against what the frames say. */
  async #compare(segment: Segment, index: SealedIndex): Promise<void> {
    const name = indexName(segment.name);
    const truth = segment.index as ActiveIndex;
    try {
      let topics = 0;
      for (let after = ''; ; ) {
        const page = await index.topics('', after, 1000);
        topics += page.length;
        for (const { topic, lastOffset } of page) {
          const waiting = this.#pause();
          if (waiting !== undefined) await waiting;
          const list = await index.postings(topic);
          const expected = await truth.postings(topic);
          const same =
            list !== undefined &&
            expected !== undefined &&
            index.mayHold(topic) &&
            truth.lastOffsetOf(truth.numberOf(topic)) === lastOffset &&
            list.length === expected.length &&
            expected.every((position, i) => list[i] === position);
          if (!same) this.#damages.push({ segment: name, what: `topic ${JSON.stringify(topic)} is indexed wrongly` });
        }
        if (page.length < 1000) break;
        after = page[page.length - 1]!.topic;
      }
      let expected = 0;
      for (let number = 0; number < truth.topicCount; number++) if (truth.has(number)) expected++;
      if (topics !== expected)
        this.#damages.push({ segment: name, what: `the index has ${topics} topics, the segment ${expected}` });
      await index.frameAt(segment.lastOffset);
    } catch (error) {
      if (!(error instanceof IndexDamaged)) throw error;
      this.#damages.push({ segment: name, what: error.message });
    }
  }
}

/** From the first to the last offset that is not among `saved`; records between the two may be saved. */
function lostBetween(saved: readonly Saved[], { from, to }: OffsetRange): OffsetRange | undefined {
  let first = from;
  for (const part of saved) if (part.first === first) first = part.last + 1;
  let last = to;
  for (const part of saved.toReversed()) if (part.last === last) last = part.first - 1;
  return first > last ? undefined : { from: first, to: last };
}
