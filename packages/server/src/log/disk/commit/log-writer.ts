import * as path from 'node:path';
import type { Clock } from '../../clock.ts';
import { alignToBlock, blockBytes } from '../files/aligned-memory.ts';
import { type Disk, type DiskFile, isNoSpace, type Ownership, OwnershipLost } from '../files/disk.ts';
import { finishFrame, frameHeaderBytes, writeFrame } from '../segment/frame.ts';
import type { Segment } from '../segment/segment.ts';
import { encodeSegmentHeader, segmentHeaderBytes } from '../segment/segment-header.ts';
import type { Batch } from './batch.ts';
import type { Filling, Preparer } from './preparer.ts';

export interface LogWriterParts {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  readonly ownership: Ownership;
  readonly preparer: Preparer;
  /** Makes sure that this start is written down; false while the disk has no room for it. */
  readonly recordStart: () => Promise<boolean>;
  /** A segment has been created and takes what is appended from now on. */
  readonly onSegment: (segment: Segment) => void;
  /** The segment before is complete and synced: it can be sealed. */
  readonly onFull: (segment: Segment, filling: Filling) => void;
}

/** The segment that is written to, and the file it is written through. */
export interface ActiveSegment {
  readonly segment: Segment;
  readonly filling: Filling;
}

/** An idle log says on disk what is durable when nothing was written for so long, in ms. */
const quietMs = 400;

/** Writes batches to the active segment, at most two at a time, and opens the next. An error of it fences the log (I9). */
export class LogWriter {
  /** Newest offset that is synced. */
  durable: number;
  /** Undefined until the first batch of this run creates its segment. */
  active: ActiveSegment | undefined;
  /** Batches that are being written past the page cache. */
  underWay = 0;
  readonly #parts: LogWriterParts;
  #written: number;
  #dirty = false;
  /** Durable offset that the newest frame on disk carries. */
  #marked = 0;
  #lastWrite = 0;
  /** The file that has taken one. */
  #provenDirect: DiskFile | undefined;

  constructor(parts: LogWriterParts, head: number) {
    this.#parts = parts;
    this.durable = head;
    this.#written = head;
  }

  /** Whether something is not synced, or the disk does not say yet what is. */
  get wantsMark(): boolean {
    if (this.#dirty) return true;
    return this.#marked < this.durable && this.#parts.clock.monotonic() - this.#lastWrite > quietMs;
  }

  /** Whether an empty frame has something to say and room behind the last frame. */
  get canMark(): boolean {
    if (this.active === undefined || this.#marked >= this.durable) return false;
    return this.active.filling.filled >= this.active.segment.end + frameHeaderBytes;
  }

  /** Whether batches of whole blocks are written past the page cache. */
  get direct(): boolean {
    return this.active?.filling.file.direct !== undefined;
  }

  /** Writes the batch, and syncs when it must be. False when the disk has no room: then nothing of it was written. */
  async store(batch: Batch): Promise<boolean> {
    if (batch.length > 0) {
      const { preparer } = this.#parts;
      const end = batch.position + batch.length;
      if (batch.segment !== this.active?.segment && !(await this.open(batch.segment, end))) return false;
      const { filling } = this.active!;
      if (filling.filled < end && !(await preparer.fill(filling, end))) return false;
      if (this.#isDirect(batch)) {
        await this.begin(batch);
        this.finish(batch);
        return true;
      }
      const { file } = filling;
      this.#complete(batch);
      // the sync is of what is written alone, so nothing before may wait for one
      const together = batch.sync && !this.#dirty ? file.writeSynced : undefined;
      if (together === undefined) await file.write(batch.buffer, 0, batch.length, batch.position);
      else await together(batch.buffer, 0, batch.length, batch.position);
      this.#wrote(batch);
      if (together === undefined) this.#dirty = true;
      else this.#synced(this.#written);
    }
    if (batch.sync) await this.sync();
    if (batch.length > 0) this.#parts.preparer.used(batch.position + batch.length);
    return true;
  }

  /**
   * Whether the batch may be written while the one before it still is. Only past the page cache: of two that share a page
   * there, one could be told of the error that concerns the other.
   */
  mayBegin({ sync, segment, position, length }: Batch): boolean {
    if (this.active === undefined || !sync || this.#dirty || this.underWay > 1) return false;
    const { filling } = this.active;
    if (segment !== this.active.segment || filling.file !== this.#provenDirect) return false;
    return position % blockBytes === 0 && filling.filled >= alignToBlock(position + length);
  }

  /** Begins to write the batch past the page cache; `finish` must follow in the order of batches. */
  begin(batch: Batch): Promise<void> {
    this.#complete(batch);
    this.underWay++;
    return this.active!.filling.file.direct!.writeSynced(batch.buffer, 0, batch.length, batch.position);
  }

  /** The write that was begun is done, and those before it are. */
  finish(batch: Batch): void {
    const { file } = this.active!.filling;
    // the first may have found out that the disk refuses such writes
    this.#provenDirect = file.direct === undefined ? undefined : file;
    this.underWay--;
    this.#wrote(batch);
    this.#synced(this.#written);
    this.#parts.preparer.used(batch.position + batch.length);
  }

  /** Past the page cache where it can be: a new page of it costs more time than writing it. */
  #isDirect({ sync, position, length }: Batch): boolean {
    return sync && !this.#dirty && this.direct && position % blockBytes === 0 && length % blockBytes === 0;
  }

  /** What only the moment of writing knows. */
  #complete(batch: Batch): void {
    this.#checkOwnership();
    const { segment } = this.active!;
    segment.lastCrc = batch.finish(this.durable, segment.lastCrc);
    this.#marked = this.durable;
  }

  #wrote(batch: Batch): void {
    this.#written = batch.lastOffset;
    this.#lastWrite = this.#parts.clock.monotonic();
  }

  async sync(): Promise<void> {
    if (this.active === undefined || !this.#dirty) return;
    const written = this.#written;
    await this.active.filling.file.sync();
    this.#synced(written);
  }

  #synced(written: number): void {
    // what was synced by an owner that is one no more may be missing in what the new owner read
    this.#checkOwnership();
    this.durable = written;
    this.#dirty = false;
  }

  /**
   * The segment gets its header and its name; false when the disk has no room. The one before is synced first: a segment
   * whose header is there proves that the one before it was complete.
   */
  async open(segment: Segment, bytes: number): Promise<boolean> {
    const { disk, directory, preparer, recordStart, onSegment, onFull } = this.#parts;
    await this.sync();
    const prepared = await preparer.take(bytes);
    if (prepared === undefined) return false;
    const before = this.active;
    if (before === undefined && !(await recordStart())) {
      preparer.giveBack(prepared);
      return false;
    }
    const header = { ...segment.header, previousCrc: before?.segment.lastCrc ?? segment.header.previousCrc };
    segment.lastCrc = header.previousCrc;
    await prepared.file.write(encodeSegmentHeader(header), 0, segmentHeaderBytes, 0);
    await prepared.file.sync();
    this.#checkOwnership();
    try {
      await disk.link(prepared.path, path.join(directory, segment.name));
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      preparer.giveBack(prepared);
      return false;
    }
    await disk.unlink(prepared.path);
    await disk.syncDirectory(directory);
    this.#checkOwnership();
    this.active = { segment, filling: prepared };
    onSegment(segment);
    if (before !== undefined) {
      before.segment.sealed = true;
      onFull(before.segment, before.filling);
    }
    return true;
  }

  /** An empty frame that carries the durable offset, so that damage below it can be told from an unfinished write. */
  async mark(): Promise<void> {
    const { segment, filling } = this.active!;
    const position = segment.end;
    this.#checkOwnership();
    const frame = Buffer.alloc(frameHeaderBytes);
    writeFrame(frame, 0, frameHeaderBytes, 0, this.durable + 1, this.durable, segment.lastTime, segment.seed);
    segment.lastCrc = finishFrame(frame, 0, this.durable, segment.lastCrc, segment.seed);
    await filling.file.write(frame, 0, frame.length, position);
    segment.lastFrameAt = position;
    segment.end = position + frameHeaderBytes;
    this.#marked = this.durable;
    await filling.file.sync();
    this.#checkOwnership();
  }

  /** Before a write, since the files are the new owner's by then; after a sync, since only then an ack is safe. */
  #checkOwnership(): void {
    if (this.#parts.ownership.lost()) throw new OwnershipLost();
  }
}
