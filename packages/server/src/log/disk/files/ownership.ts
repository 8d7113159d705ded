import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { DirectoryInUse, errorCode, isNoSpace, type Ownership, type OwnOptions } from './disk.ts';

const socketName = 'owner.sock';
const termName = 'term';

/**
 * One owner per data directory. A listening socket inside it shows that the owner lives: who can connect to it keeps
 * out; when the connection is refused the owner is dead, and its socket is replaced atomically. The `term` file then
 * takes a new inode, so that an owner that was only stopped sees at its next commit that it is one no more. The kernel
 * answers for a process that is stopped or hangs: only who is told to takes over from one that seems to live.
 */
export async function own(directory: string, { takeOver = false }: OwnOptions = {}): Promise<Ownership> {
  fs.mkdirSync(directory, { recursive: true, mode: 0o700 });
  const short = new ShortPath(directory);
  const token = randomBytes(6).toString('hex');
  const server = net.createServer(socket => socket.destroy());
  const mine = `owner.${token}.sock`;
  try {
    await listen(server, short.of(mine));
    const tookOver = await claim(directory, short, mine, token, takeOver);
    const fd = writeTerm(directory, token, () => checkHeld(directory, mine));
    fs.rmSync(path.join(directory, mine), { force: true });
    return {
      tookOver,
      // the term file we hold open has no name any more once another took its place
      lost: () => fs.fstatSync(fd).nlink === 0,
      async release() {
        if (fs.fstatSync(fd).nlink > 0) fs.rmSync(path.join(directory, socketName), { force: true });
        fs.closeSync(fd);
        await closeServer(server);
        short.close();
      },
    };
  } catch (error) {
    fs.rmSync(path.join(directory, mine), { force: true });
    await closeServer(server);
    short.close();
    throw error;
  }
}

async function claim(
  directory: string,
  short: ShortPath,
  mine: string,
  token: string,
  takeOver: boolean,
): Promise<boolean> {
  const minePath = path.join(directory, mine);
  const socketPath = path.join(directory, socketName);
  let tookOver = false;
  for (let attempt = 0; attempt < 20; attempt++) {
    // a link never replaces: of several that start together one wins
    if (tryLink(minePath, socketPath)) return tookOver;
    const probed = inodeOf(socketPath);
    if (probed === undefined) continue;
    // once: of several that take over at once each must find the one that was first
    if ((!takeOver || tookOver) && (await answers(short.of(socketName)))) {
      throw new DirectoryInUse(directory, ownerName(directory));
    }
    const stale = path.join(directory, `stale.${token}.sock`);
    try {
      fs.renameSync(socketPath, stale);
    } catch (error) {
      if (errorCode(error) === 'ENOENT') continue;
      throw error;
    }
    // another starter may have replaced the dead socket since we probed it: then put its own back
    if (inodeOf(stale) !== probed) tryLink(stale, socketPath);
    else tookOver = true;
    fs.rmSync(stale, { force: true });
  }
  throw new Error(`the data directory ${directory} is being opened by several processes at once`);
}

/** Socket and term must be of one process: throws when the socket is another's by now. */
function checkHeld(directory: string, mine: string): void {
  const minePath = path.join(directory, mine);
  const socketPath = path.join(directory, socketName);
  // a starter may have moved it aside for a moment; no link, neither this one nor its own, replaces another
  tryLink(minePath, socketPath);
  if (inodeOf(socketPath) === inodeOf(minePath)) return;
  throw new Error(
    `another process has taken over the data directory ${directory} while this one started; if that one has ended too, start again`,
  );
}

function writeTerm(directory: string, token: string, check: () => void): number {
  const temporary = path.join(directory, `term.${token}.tmp`);
  const fd = fs.openSync(temporary, 'wx', 0o600);
  try {
    writeText(fd, `${JSON.stringify({ pid: process.pid, token })}\n`);
    check();
    fs.renameSync(temporary, path.join(directory, termName));
    // who took over before that has lost its term by it, and gives way too; who does after this replaces the term again
    check();
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    fs.rmSync(temporary, { force: true });
    throw error;
  }
}

function writeText(fd: number, text: string): void {
  try {
    fs.writeSync(fd, text);
  } catch (error) {
    // the inode is what counts; the text only tells who it is, and a full disk must not keep a log from being read
    if (!isNoSpace(error)) throw error;
  }
}

function ownerName(directory: string): string {
  try {
    const term: unknown = JSON.parse(fs.readFileSync(path.join(directory, termName), 'utf8'));
    if (typeof term === 'object' && term !== null && 'pid' in term) return `process ${String(term.pid)}`;
  } catch {
    // the owner may not have written its term yet
  }
  return 'another process';
}

/**
 * A socket address has room for 107 bytes of path, a data directory may be longer: on Linux the directory is reached by
 * an open descriptor.
 */
class ShortPath {
  readonly #directory: string;
  readonly #fd: number | undefined;

  constructor(directory: string) {
    this.#directory = directory;
    if (process.platform === 'linux') this.#fd = fs.openSync(directory, fs.constants.O_DIRECTORY);
  }

  of(name: string): string {
    if (process.platform === 'win32')
      return `\\\\.\\pipe\\tailrace-${path.resolve(this.#directory, name).replaceAll(/[\\/:]/g, '-')}`;
    return this.#fd === undefined ? path.join(this.#directory, name) : `/proc/self/fd/${this.#fd}/${name}`;
  }

  close(): void {
    if (this.#fd !== undefined) fs.closeSync(this.#fd);
  }
}

function listen(server: net.Server, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => {
      server.removeListener('error', reject);
      server.unref();
      resolve();
    });
  });
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
  });
}

function answers(address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(address);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', error => {
      const code = errorCode(error);
      // a full backlog means alive and busy
      if (code === 'EAGAIN') resolve(true);
      else if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      else reject(error);
    });
  });
}

function tryLink(from: string, to: string): boolean {
  try {
    fs.linkSync(from, to);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

function inodeOf(file: string): number | undefined {
  return fs.statSync(file, { throwIfNoEntry: false })?.ino;
}
