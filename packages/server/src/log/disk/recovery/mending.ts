import * as path from 'node:path';
import type { LogReport } from '../../report.ts';
import { type Disk, errorCode, isNoSpace } from '../files/disk.ts';
import type { OpenFiles } from '../files/open-files.ts';
import { readAll } from '../segment/read-segment.ts';
import type { ScannedFrame, SegmentScan } from '../segment/scan.ts';
import type { Segment } from '../segment/segment.ts';
import { indexName } from '../segment/segment-name.ts';
import { copyAside, linkAside } from './quarantine.ts';

export interface MendingParts {
  readonly disk: Disk;
  readonly files: OpenFiles;
  readonly directory: string;
  readonly acceptLoss: boolean;
  readonly report: (report: LogReport) => void;
}

/**
 * What recovery does to the files of segments. A full disk does not keep a log from being read: what cannot be copied is
 * written again where it is, what cannot be kept aside is not cut.
 */
export class Mending {
  /** There was no room to keep a copy of what is damaged. */
  uncopied = false;
  readonly #parts: MendingParts;

  constructor(parts: MendingParts) {
    this.#parts = parts;
  }

  /** Cuts the file to `length` bytes. */
  async cut(segment: Segment, length: number): Promise<void> {
    const file = await this.#parts.disk.open(segment.path, 'write');
    try {
      await file.truncate(length);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Keeps what follows the last whole frame, before it is cut; without room for that the segment is `uncut`. */
  async keepTail(segment: Segment, buffer: Buffer, scan: SegmentScan): Promise<void> {
    const { frame, position, what } = scan.bad!;
    const bytes = buffer.subarray(position, scan.dataEnd);
    const { disk, directory, report } = this.#parts;
    const found = `${segment.name}: ${bytes.length} bytes behind offset ${scan.last} are no whole frame (${what}) and were never known to be synced`;
    const at = { segment: segment.name, frame, position, offset: scan.last + 1 };
    try {
      const kept = await copyAside(disk, directory, `${segment.name}.${position}.cut`, bytes);
      const message = `${found}: cut, kept as ${kept}`;
      report({ level: 'warn', kind: 'tail_cut', message, at, bytes: bytes.length });
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      segment.uncut = true;
      const message = `${found}: the disk has no room to keep them aside, so they stay until a start finds some`;
      report({ level: 'warn', kind: 'tail_left', message, at, bytes: bytes.length });
    }
  }

  /**
   * What may only be in the page cache is written once more in its place, byte for byte: its pages are dirty then, and
   * the sync after it means what it says, which that of an earlier process may not have done. That is the records from
   * `doubtful` on, and an empty frame at the end, whose crc the next segment will name.
   */
  async writeAgain(
    segment: Segment,
    buffer: Buffer,
    scan: SegmentScan,
    doubtful: ScannedFrame | undefined,
  ): Promise<void> {
    const last = scan.frames[scan.frames.length - 1];
    const from = doubtful ?? (last?.count === 0 ? last : undefined);
    if (from === undefined) return;
    const { disk, report } = this.#parts;
    const bytes = scan.end - from.position;
    const file = await disk.open(segment.path, 'write');
    try {
      await file.write(buffer, from.position, bytes, from.position);
      await file.sync();
    } finally {
      await file.close();
    }
    if (doubtful === undefined) return;
    report({
      level: 'info',
      kind: 'tail_rewritten',
      message: `offsets ${doubtful.first} to ${scan.last} were not known to be synced, and the disk has no room for a copy: written again in ${segment.name}`,
      at: { segment: segment.name, position: doubtful.position, offset: doubtful.first },
      bytes,
    });
  }

  /** Keeps a copy of what is damaged. A start that changes nothing goes on without one, to say all that it finds. */
  async copyAside(name: string, bytes: Buffer): Promise<void> {
    const { disk, directory, acceptLoss } = this.#parts;
    try {
      await copyAside(disk, directory, name, bytes);
    } catch (cause) {
      if (!isNoSpace(cause)) throw cause;
      if (acceptLoss) throw new Error(`the disk has no room to keep a copy of ${name}: free some first`, { cause });
      this.uncopied = true;
    }
  }

  /** The same for all of a file, also of one that the disk cannot read. */
  async fileAside(name: string): Promise<void> {
    const { disk, directory } = this.#parts;
    const content = await readAll(disk, path.join(directory, name)).catch((error: unknown) => {
      if (errorCode(error) !== 'EIO') throw error;
      return undefined;
    });
    if (content === undefined) await linkAside(disk, directory, name);
    else await this.copyAside(name, content);
  }

  /** A file without a whole record goes; one that could not be kept aside only makes room for the segment of its name. */
  async removeEmpty(segment: Segment): Promise<void> {
    if (!segment.uncut) {
      await this.remove(segment.name);
      return;
    }
    const { disk, directory, files } = this.#parts;
    await files.forget(segment.path);
    await disk.rename(segment.path, `${segment.path}.cut`);
    await disk.syncDirectory(directory);
  }

  async remove(name: string): Promise<void> {
    const { disk, directory, files } = this.#parts;
    await files.forget(path.join(directory, name));
    await disk.unlink(path.join(directory, name));
    await disk.unlink(path.join(directory, indexName(name))).catch(() => undefined);
    await disk.syncDirectory(directory);
  }
}
