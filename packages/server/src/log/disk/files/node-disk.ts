import * as fs from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type AlignedRead, readBlocks } from './direct-reads.ts';
import { type DirectWrites, type Disk, type DiskFile, errorCode } from './disk.ts';
import { own } from './ownership.ts';

/** The real disk. A commit takes one of libuv's threads, log reads at most two, filling ahead one: a process that does
 * other file or DNS work beside should be started with a larger UV_THREADPOOL_SIZE than the default of 4. */
export const nodeDisk: Disk = {
  async open(path, mode) {
    const flags = mode === 'create' ? 'wx+' : mode === 'write' ? 'r+' : 'r';
    const fd = await call<number>(done => fs.open(path, flags, 0o600, done));
    if (mode !== 'create') return new NodeFile(path, fd);
    const { O_DSYNC, O_DIRECT } = fs.constants;
    const synced = await openAgain(path, O_DSYNC);
    return new NodeFile(path, fd, synced, await openAgain(path, O_DIRECT), await openAgain(path, O_DIRECT, O_DSYNC));
  },
  link: (from, to) => call(done => fs.link(from, to, done)),
  rename: (from, to) => call(done => fs.rename(from, to, done)),
  unlink: path => call(done => fs.unlink(path, done)),
  list: directory => call<string[]>(done => fs.readdir(directory, (error, names) => done(error, names))),
  async makeDirectory(path) {
    const first = await call<string | undefined>(done => fs.mkdir(path, { recursive: true, mode: 0o700 }, done));
    if (first === undefined) return;
    // a name is there for good once the directory that it stands in is synced
    for (let made = resolve(path); made.length >= resolve(first).length; made = dirname(made))
      await nodeDisk.syncDirectory(dirname(made)).catch((error: unknown) => {
        // one may write names into a directory that one may not read
        if (errorCode(error) !== 'EACCES') throw error;
      });
  },
  async syncDirectory(path) {
    const fd = await call<number>(done => fs.open(path, 'r', done));
    try {
      await call(done => fs.fsync(fd, done));
    } catch (error) {
      // Windows cannot sync directories; there a rename is durable with the file
      if (errorCode(error) !== 'EPERM') throw error;
    } finally {
      await call(done => fs.close(fd, done));
    }
  },
  async free(path) {
    const { bavail, bsize } = await call<fs.StatsFs>(done => fs.statfs(path, (error, stats) => done(error, stats)));
    return bavail * bsize;
  },
  own,
};

class NodeFile implements DiskFile {
  readonly writeSynced: DiskFile['write'] | undefined;
  direct: DirectWrites | undefined;
  readonly #path: string;
  readonly #fd: number;
  readonly #others: readonly (number | undefined)[];
  /** Of the same file, opened past the page cache when first needed; undefined where that is refused. */
  #directFd: Promise<number | undefined> | undefined;

  /** The others are of the same file: each write to `synced` is synced, those to `direct` go past the page cache. */
  constructor(path: string, fd: number, synced?: number, direct?: number, directSynced?: number) {
    this.#path = path;
    this.#fd = fd;
    this.#others = [synced, direct, directSynced];
    if (synced === undefined) return;
    this.writeSynced = (...of) => writeAll(synced, ...of);
    if (direct === undefined || directSynced === undefined) return;
    this.direct = {
      write: (...of) => this.#writeDirect(direct, fd, of),
      writeSynced: (...of) => this.#writeDirect(directSynced, synced, of),
    };
  }

  async read(buffer: Uint8Array, start: number, length: number, position: number): Promise<number> {
    let done = 0;
    while (done < length) {
      const got = await call<number>(cb =>
        fs.read(this.#fd, buffer, start + done, length - done, position + done, cb),
      ).catch(this.#unreadable);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  async readOnce(buffer: Uint8Array, start: number, length: number, position: number): Promise<number> {
    this.#directFd ??= openDirect(this.#fd);
    const fd = await this.#directFd;
    if (fd !== undefined) {
      const read: AlignedRead = (memory, bytes, from) => call<number>(cb => fs.read(fd, memory, 0, bytes, from, cb));
      const got = await readBlocks(read, buffer, start, length, position).catch(this.#unreadable);
      if (got !== undefined) return got;
    }
    return this.read(buffer, start, length, position);
  }

  /** The only error of a read that is no fault of the disk: it says where. */
  readonly #unreadable = (error: unknown): never => {
    if (errorCode(error) !== 'EISDIR') throw error;
    throw new Error(`${this.#path} is a directory, where a file of the log should be: move it away`, { cause: error });
  };

  write(buffer: Uint8Array, start: number, length: number, position: number): Promise<void> {
    return writeAll(this.#fd, buffer, start, length, position);
  }

  sync(): Promise<void> {
    return call(done => fs.fdatasync(this.#fd, done));
  }

  truncate(length: number): Promise<void> {
    return call(done => fs.ftruncate(this.#fd, length, done));
  }

  async size(): Promise<number> {
    return (await call<fs.Stats>(done => fs.fstat(this.#fd, done))).size;
  }

  async close(): Promise<void> {
    for (const fd of [...this.#others, await this.#directFd, this.#fd])
      if (fd !== undefined) await call(done => fs.close(fd, done));
  }

  /**
   * EINVAL is how a device with larger blocks refuses, or a file system that compresses: such a file is written through the
   * page cache from then on, which is slower and as safe. Any other error is the caller's.
   */
  async #writeDirect(direct: number, buffered: number, of: Parameters<DiskFile['write']>): Promise<void> {
    try {
      await writeAll(direct, ...of);
    } catch (error) {
      if (errorCode(error) !== 'EINVAL') throw error;
      this.direct = undefined;
      await writeAll(buffered, ...of);
    }
  }
}

/**
 * A write and a sync by one turn of the thread pool (`O_DSYNC`): a seventh more commits of 64 records. Not every system
 * knows it, and not every file system knows `O_DIRECT`.
 */
async function openAgain(path: string, ...flags: readonly (number | undefined)[]): Promise<number | undefined> {
  let all = fs.constants.O_RDWR;
  for (const flag of flags) {
    if (flag === undefined) return undefined;
    all |= flag;
  }
  try {
    return await call<number>(done => fs.open(path, all, done));
  } catch (error) {
    if (errorCode(error) !== 'EINVAL') throw error;
    return undefined;
  }
}

/** Past the page cache; undefined where there is no such way. Not by its name, which may be another file's by now. */
async function openDirect(fd: number): Promise<number | undefined> {
  const { O_DIRECT, O_RDONLY } = fs.constants;
  if (O_DIRECT === undefined) return undefined;
  return call<number>(done => fs.open(`/proc/self/fd/${fd}`, O_RDONLY | O_DIRECT, done)).catch(() => undefined);
}

async function writeAll(
  fd: number,
  buffer: Uint8Array,
  start: number,
  length: number,
  position: number,
): Promise<void> {
  let done = 0;
  // a short write is no error yet: the rest tells why
  while (done < length)
    done += await call<number>(cb => fs.write(fd, buffer, start + done, length - done, position + done, cb));
}

/** node:fs/promises costs several times a callback per call, and commits are many. */
function call<T = void>(start: (done: (error: Error | null, value?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => (error ? reject(error) : resolve(value as T)));
  });
}
