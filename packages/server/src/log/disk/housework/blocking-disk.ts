import * as fs from 'node:fs';
import type { DiskFile, DraftDisk } from '../files/disk.ts';

/** The files of this machine for a thread that does nothing else: its reads and syncs take no turn of the thread pool. */
export const blockingDisk: DraftDisk = {
  async open(path, mode) {
    const flags = mode === 'create' ? 'wx+' : mode === 'write' ? 'r+' : 'r';
    return new BlockingFile(fs.openSync(path, flags, 0o600));
  },
  async unlink(path) {
    fs.unlinkSync(path);
  },
};

class BlockingFile implements DiskFile {
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  async read(buffer: Uint8Array, start: number, length: number, position: number): Promise<number> {
    let done = 0;
    while (done < length) {
      const got = fs.readSync(this.#fd, buffer, start + done, length - done, position + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  async write(buffer: Uint8Array, start: number, length: number, position: number): Promise<void> {
    let done = 0;
    while (done < length) done += fs.writeSync(this.#fd, buffer, start + done, length - done, position + done);
  }

  async sync(): Promise<void> {
    fs.fdatasyncSync(this.#fd);
  }

  async truncate(length: number): Promise<void> {
    fs.ftruncateSync(this.#fd, length);
  }

  async size(): Promise<number> {
    return fs.fstatSync(this.#fd).size;
  }

  async close(): Promise<void> {
    fs.closeSync(this.#fd);
  }
}
