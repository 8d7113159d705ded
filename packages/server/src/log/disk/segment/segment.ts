import * as path from 'node:path';
import type { DiskFile } from '../files/disk.ts';
import type { OpenFiles } from '../files/open-files.ts';
import { ActiveIndex } from '../index/active-index.ts';
import type { SegmentIndex } from '../index/segment-index.ts';
import { type SegmentHeader, segmentSeed } from './segment-header.ts';
import { indexName, segmentName } from './segment-name.ts';

/** One file of the log: what is known of it in memory. */
export class Segment {
  readonly name: string;
  readonly path: string;
  readonly header: SegmentHeader;
  readonly seed: number;
  readonly files: OpenFiles;
  /** The newest committed record; firstOffset − 1 when there is none. */
  lastOffset: number;
  firstTime = 0;
  lastTime = 0;
  records = 0;
  /** Records with an id or a producer, which de-duplication cares about. */
  remembered = 0;
  /** Of those, the ones with an id. */
  ids = 0;
  /** Bytes up to the end of the last committed frame. */
  end: number;
  /** Crc of that frame; of the last of the segment before while there is none. */
  lastCrc: number;
  /** Where that frame begins; 0 while there is none. */
  lastFrameAt = 0;
  index: SegmentIndex;
  /** Nothing will be added any more. */
  sealed = false;
  /** Bytes behind `end` could not be kept aside: they stay, and without an index the next start meets them again. */
  uncut = false;

  constructor(files: OpenFiles, directory: string, header: SegmentHeader) {
    this.files = files;
    this.header = header;
    this.name = segmentName(header.firstOffset, header.generation);
    this.path = path.join(directory, this.name);
    this.seed = segmentSeed(header);
    this.lastOffset = header.firstOffset - 1;
    this.end = header.framesAt;
    this.lastCrc = header.previousCrc;
    this.index = new ActiveIndex(header.framesAt);
  }

  get firstOffset(): number {
    return this.header.firstOffset;
  }

  /** Bytes of a record, on average. */
  get recordBytes(): number {
    return Math.ceil((this.end - this.header.framesAt) / Math.max(1, this.records));
  }

  /** Crc of the frame that the next segment names as the one before its first. */
  get chainCrc(): number {
    return this.header.rewritten?.lastCrc ?? this.lastCrc;
  }

  get indexPath(): string {
    return indexName(this.path);
  }

  use<T>(task: (file: DiskFile) => Promise<T>): Promise<T> {
    return this.files.use(this.path, task);
  }
}
