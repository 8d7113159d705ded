import type { DiskFile, DraftDisk } from './disk.ts';

/** Files kept open for readers, so that a log of ten thousand segments does not need as many descriptors. */
const keptOpen = 128;

interface OpenFile {
  readonly file: Promise<DiskFile>;
  users: number;
  forgotten: boolean;
}

/** Opens files for reading when they are needed and keeps the last used open. */
export class OpenFiles {
  readonly #disk: Pick<DraftDisk, 'open'>;
  // in order of use
  readonly #open = new Map<string, OpenFile>();

  constructor(disk: Pick<DraftDisk, 'open'>) {
    this.#disk = disk;
  }

  /** Runs `task` with the file; one that is forgotten or removed meanwhile stays readable until the task ends. */
  async use<T>(path: string, task: (file: DiskFile) => Promise<T>): Promise<T> {
    const open = this.#open.get(path) ?? { file: this.#disk.open(path, 'read'), users: 0, forgotten: false };
    this.#open.delete(path);
    this.#open.set(path, open);
    open.users++;
    try {
      return await task(await open.file);
    } catch (error) {
      // an open that failed is tried again by the next reader
      await open.file.catch(() => this.#open.delete(path));
      throw error;
    } finally {
      open.users--;
      if (open.forgotten && open.users === 0) await this.#close(open);
      if (this.#open.size > keptOpen) this.#closeOldest();
    }
  }

  /** The file is about to be removed or replaced: the next `use` opens it anew. */
  async forget(path: string): Promise<void> {
    const open = this.#open.get(path);
    if (open === undefined) return;
    this.#open.delete(path);
    open.forgotten = true;
    if (open.users === 0) await this.#close(open);
  }

  async close(): Promise<void> {
    for (const path of [...this.#open.keys()]) await this.forget(path);
  }

  #closeOldest(): void {
    for (const [path, open] of this.#open) {
      if (open.users > 0) continue;
      void this.forget(path);
      return;
    }
  }

  async #close(open: OpenFile): Promise<void> {
    // one that could not be opened has nothing to close
    const file = await open.file.catch(() => undefined);
    // it was only read: nothing is lost when closing fails
    await file?.close().catch(() => undefined);
  }
}
