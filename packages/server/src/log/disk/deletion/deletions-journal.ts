import * as path from 'node:path';
import type { Disk, DiskFile } from '../files/disk.ts';
import { giveName } from '../files/replace-file.ts';
import { deletionsName, encodeDeletions, type PendingDeletion, removeDeletions } from './deletions-file.ts';

/** Lines beyond those that count before the file is written anew. */
const spareLines = 64;

/** The file as the owner of the directory keeps it: a deletion costs one line, however many are pending. */
export class DeletionsJournal {
  readonly #disk: Disk;
  readonly #directory: string;
  /**
   * The file that this owner made: one that has been replaced, and does not know it yet, never writes into that of the
   * next. Undefined before the first, and when it is not certain what is in it.
   */
  #file: DiskFile | undefined;
  #end = 0;
  #lines = 0;

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  /** Whether a line can be added where so many are pending; else the file has to be replaced. */
  hasRoom(pending: number): boolean {
    return this.#file !== undefined && this.#lines <= 2 * pending + spareLines;
  }

  /** Writes down and syncs one more. A rejection for lack of room leaves nothing of it. */
  async add(deletion: PendingDeletion): Promise<void> {
    const file = this.#file!;
    const line = encodeDeletions([deletion]);
    try {
      await file.write(line, 0, line.length, this.#end);
      await file.sync();
    } catch (error) {
      await this.#takeBack(error);
      throw error;
    }
    this.#end += line.length;
    this.#lines++;
  }

  async replace(pending: readonly PendingDeletion[]): Promise<void> {
    await this.close();
    // a full disk has room for that
    if (pending.length === 0) return removeDeletions(this.#disk, this.#directory);
    const bytes = encodeDeletions(pending);
    const name = path.join(this.#directory, deletionsName);
    const temporary = `${name}.tmp`;
    await this.#disk.unlink(temporary).catch(() => undefined);
    const file = await this.#disk.open(temporary, 'create');
    try {
      await file.write(bytes, 0, bytes.length, 0);
      await file.sync();
      await giveName(this.#disk, temporary, name);
    } catch (error) {
      await this.#disk.unlink(temporary).catch(() => undefined);
      await file.close();
      throw error;
    }
    this.#file = file;
    this.#end = bytes.length;
    this.#lines = pending.length;
  }

  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** After a failed sync a file is not written on. */
  async #takeBack(cause: unknown): Promise<void> {
    const file = this.#file!;
    this.#file = undefined;
    try {
      await file.truncate(this.#end);
      await file.sync();
    } catch {
      throw new Error(`a line of it may be there: ${String(cause)}`, { cause });
    } finally {
      await file.close();
    }
  }
}
