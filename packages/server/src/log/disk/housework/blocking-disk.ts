import * as fs from 'node:fs';
import { DirectAppends } from '../files/direct-appends.ts';
import { type AlignedRead, readBlocks } from '../files/direct-reads.ts';
import { type DiskFile, type DraftDisk, errorCode } from '../files/disk.ts';

/**
 * The files of this machine for a thread that does nothing else: its reads and syncs take no turn of the thread pool. What
 * is created goes past the page cache: a sync of megabytes would hold commits up, and so would the copy into the cache.
 */
export const blockingDisk: DraftDisk = {
  async open(path, mode) {
    if (mode === 'create') return new BlockingDraft(fs.openSync(path, 'wx+', 0o600));
    return new BlockingFile(fs.openSync(path, mode === 'write' ? 'r+' : 'r'));
  },
  async unlink(path) {
    fs.unlinkSync(path);
  },
};

class BlockingFile implements DiskFile {
  protected readonly fd: number;
  /** Of the same file; undefined where direct reads and writes are refused. */
  protected readonly directFd: number | undefined;

  constructor(fd: number, access: number = fs.constants.O_RDONLY) {
    this.fd = fd;
    this.directFd = openDirect(fd, access);
  }

  async read(buffer: Uint8Array, start: number, length: number, position: number): Promise<number> {
    let done = 0;
    while (done < length) {
      const got = fs.readSync(this.fd, buffer, start + done, length - done, position + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  async readOnce(buffer: Uint8Array, start: number, length: number, position: number): Promise<number> {
    const fd = this.directFd;
    if (fd !== undefined) {
      const read: AlignedRead = async (memory, bytes, from) => fs.readSync(fd, memory, 0, bytes, from);
      const got = await readBlocks(read, buffer, start, length, position);
      if (got !== undefined) return got;
    }
    return this.read(buffer, start, length, position);
  }

  async write(buffer: Uint8Array, start: number, length: number, position: number): Promise<void> {
    let done = 0;
    while (done < length) done += fs.writeSync(this.fd, buffer, start + done, length - done, position + done);
  }

  async sync(): Promise<void> {
    fs.fdatasyncSync(this.fd);
  }

  async truncate(length: number): Promise<void> {
    fs.ftruncateSync(this.fd, length);
  }

  async size(): Promise<number> {
    return fs.fstatSync(this.fd).size;
  }

  async close(): Promise<void> {
    if (this.directFd !== undefined) fs.closeSync(this.directFd);
    fs.closeSync(this.fd);
  }
}

/** A new file: directly as long as it is written from its beginning to its end. */
class BlockingDraft extends BlockingFile {
  #appends: DirectAppends | undefined;
  #unsettled = false;

  constructor(fd: number) {
    super(fd, fs.constants.O_RDWR);
    const { directFd } = this;
    if (directFd !== undefined) this.#appends = new DirectAppends((...of) => this.#writeBlocks(directFd, ...of));
  }

  override async read(buffer: Uint8Array, start: number, length: number, position: number): Promise<number> {
    this.#settle();
    return super.read(buffer, start, length, position);
  }

  override async readOnce(buffer: Uint8Array, start: number, length: number, position: number): Promise<number> {
    this.#settle();
    return super.readOnce(buffer, start, length, position);
  }

  override async write(buffer: Uint8Array, start: number, length: number, position: number): Promise<void> {
    if (this.#appends?.end === position) {
      this.#appends.append(buffer.subarray(start, start + length));
      this.#unsettled = true;
      return;
    }
    this.#endAppends();
    await super.write(buffer, start, length, position);
  }

  override async sync(): Promise<void> {
    this.#settle();
    await super.sync();
  }

  override async truncate(length: number): Promise<void> {
    this.#endAppends();
    await super.truncate(length);
  }

  override async size(): Promise<number> {
    this.#settle();
    return super.size();
  }

  override async close(): Promise<void> {
    try {
      this.#endAppends();
    } finally {
      await super.close();
    }
  }

  #endAppends(): void {
    const appends = this.#appends;
    if (appends === undefined) return;
    this.#settle();
    this.#appends = undefined;
    appends.close();
  }

  /** Makes the file as long as what was written to it. */
  #settle(): void {
    const appends = this.#appends;
    if (appends === undefined || !this.#unsettled) return;
    appends.flush();
    fs.ftruncateSync(this.fd, appends.end);
    this.#unsettled = false;
  }

  #writeBlocks(directFd: number, memory: Buffer, length: number, position: number): void {
    let done = 0;
    try {
      while (done < length) done += fs.writeSync(directFd, memory, done, length - done, position + done);
    } catch (error) {
      if (errorCode(error) !== 'EINVAL') throw error;
      while (done < length) done += fs.writeSync(this.fd, memory, done, length - done, position + done);
    }
  }
}

function openDirect(fd: number, access: number): number | undefined {
  const { O_DIRECT } = fs.constants;
  if (O_DIRECT === undefined) return undefined;
  try {
    // not by its name, which may be another file's by now
    return fs.openSync(`/proc/self/fd/${fd}`, access | O_DIRECT);
  } catch {
    return undefined;
  }
}
