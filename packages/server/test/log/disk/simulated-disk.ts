import * as path from 'node:path';
import type { DirectWrites, Disk, DiskFile, Ownership } from '../../../src/log/disk/files/disk.ts';
import type { SeededRandom } from '../seeded-random.ts';

const sectorBytes = 512;

/** A file: what a process reads, and what would still be there after a power cut. */
class Inode {
  current: Buffer = Buffer.alloc(0);
  durable: Buffer = Buffer.alloc(0);
  names = 0;
  /** Sectors that a failed sync did not write: they read as written, and no later sync writes them either. */
  readonly dropped: Set<number> = new Set();

  /** A sync of what is there from `start` to `end` failed, as far as sectors differ. */
  drop(start: number, end: number): void {
    for (let at = start - (start % sectorBytes); at < Math.min(end, this.current.length); at += sectorBytes)
      if (!this.current.subarray(at, at + sectorBytes).equals(this.durable.subarray(at, at + sectorBytes)))
        this.dropped.add(at);
  }

  /** What a sync of what is there from `start` to `end` makes durable, when it succeeds. */
  synced(start: number, end: number): Buffer {
    const content = Buffer.from(this.current);
    for (const at of this.dropped) this.#restore(content, at);
    return content.subarray(start - (start % sectorBytes), Math.ceil(end / sectorBytes) * sectorBytes);
  }

  /** The sync from `start` on succeeded. */
  settle(start: number, synced: Buffer): void {
    const from = start - (start % sectorBytes);
    const content = Buffer.alloc(Math.max(this.durable.length, from + synced.length));
    content.set(this.durable);
    content.set(synced, from);
    this.durable = content;
  }

  #restore(content: Buffer, at: number): void {
    if (at >= content.length) return;
    content.fill(0, at, Math.min(at + sectorBytes, content.length));
    content.set(this.durable.subarray(at, Math.min(at + sectorBytes, content.length)), at);
  }
}

interface DirectoryChange {
  readonly directory: string;
  apply(names: Map<string, Inode>): void;
}

export type DiskOperation =
  | 'open'
  | 'write'
  | 'sync'
  | 'link'
  | 'rename'
  | 'unlink'
  | 'syncDirectory'
  | 'truncate'
  | 'read';

/**
 * A disk that forgets as real ones do. Written sectors become durable by `sync`, names by `syncDirectory`; a power cut
 * keeps of every other sector all, nothing, or a part, and of the changed names a prefix. What a failed `sync` did not
 * write is never written by a later one, although it can be read as long as the machine runs. `boot` gives the disk as one
 * process sees it; after `cut` that process never gets an answer again.
 */
export class SimulatedDisk {
  /** Bytes that all files together may have. */
  capacity: number = Number.POSITIVE_INFINITY;
  /** Another process has taken the directory over. */
  lost = false;
  /** Operations begun since the last boot. */
  operations = 0;
  /** Called before each operation; may throw what the operation then fails with. */
  fault: ((operation: DiskOperation, file: string) => void) | undefined;
  /** Operations for which it says true begin, and do not end before `resume`. */
  stall: ((operation: DiskOperation, file: string) => boolean) | undefined;
  /** Called at each operation, to cut the power at one of them. */
  onOperation: ((count: number) => void) | undefined;
  /** Whether it writes and syncs by one operation where a file is asked for that. */
  readonly writesSynced: boolean;
  /** Whether it has writes past the page cache. */
  writesDirect: boolean;
  /** Commits written so, those that began beside another, and those that ended before it. */
  directCommits = 0;
  secondCommits = 0;
  overtaken = 0;
  /** Commits under way. */
  readonly commits: Set<object> = new Set();
  /** Operations may end in another order than they began. */
  reorders = false;
  readonly #random: SeededRandom;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #changes: DirectoryChange[] = [];
  #stalled: (() => void)[] = [];
  #boots = 0;

  constructor(random: SeededRandom) {
    this.#random = random;
    this.writesSynced = random.chance(0.5);
    this.writesDirect = random.chance(0.5);
  }

  boot(): Disk {
    this.operations = 0;
    this.commits.clear();
    return new BootedDisk(this, ++this.#boots);
  }

  alive(boot: number): boolean {
    return boot === this.#boots;
  }

  /** Operations that have not ended. */
  get stalled(): number {
    return this.#stalled.length;
  }

  /** Runs `end` at once, or when the operation no longer stalls. */
  end(operation: DiskOperation, file: string, end: () => void): void {
    if (this.stall?.(operation, file) === true) this.#stalled.push(end);
    else end();
  }

  /** Ends of what stalled what began last. */
  resumeNewest(): void {
    this.#stalled.pop()?.();
  }

  /** Turns of the event loop before an operation ends. */
  turns(): number {
    return this.reorders && this.#random.chance(0.3) ? 1 + this.#random.below(6) : 1;
  }

  /** Ends what stalled. */
  resume(): void {
    this.stall = undefined;
    for (const end of this.#stalled.splice(0)) end();
  }

  get usedBytes(): number {
    let bytes = 0;
    for (const inode of new Set(this.#names.values())) bytes += inode.current.length;
    return bytes;
  }

  /** The process dies; the machine goes on. */
  kill(): void {
    this.#boots++;
  }

  /** The machine loses power. */
  cut(): void {
    this.#boots++;
    const names = new Map(this.#durableNames);
    const kept = this.#random.below(this.#changes.length + 1);
    for (const change of this.#changes.slice(0, kept)) change.apply(names);
    for (const inode of new Set([...names.values(), ...this.#durableNames.values()])) this.#tear(inode);
    this.#names = names;
    this.#durableNames = new Map(names);
    this.#changes = [];
  }

  /** Content of a file, to damage it. */
  content(file: string): Buffer {
    return this.#inode(file).current;
  }

  replace(file: string, content: Buffer): void {
    const inode = this.#inode(file);
    inode.current = content;
    inode.durable = Buffer.from(content);
  }

  files(): string[] {
    return [...this.#names.keys()].sort();
  }

  find(file: string): Inode | undefined {
    return this.#names.get(file);
  }

  change(directory: string, apply: (names: Map<string, Inode>) => void): void {
    apply(this.#names);
    this.#changes.push({ directory, apply });
  }

  syncNames(directory: string): void {
    for (const change of this.#changes) if (change.directory === directory) change.apply(this.#durableNames);
    this.#changes = this.#changes.filter(change => change.directory !== directory);
  }

  #inode(file: string): Inode {
    const inode = this.#names.get(file);
    if (inode === undefined) throw failure('ENOENT', file);
    return inode;
  }

  #tear(inode: Inode): void {
    const { current, durable } = inode;
    const grown = this.#random.chance(0.5) ? current.length : durable.length;
    const content = Buffer.alloc(grown);
    for (let at = 0; at < grown; at += sectorBytes) {
      const end = Math.min(at + sectorBytes, grown);
      const choice = inode.dropped.has(at) ? 4 : this.#random.below(8);
      // an eighth of the sectors is torn: the new bytes up to some point, the old ones behind
      const split = choice < 4 ? end : choice < 7 ? at : at + this.#random.below(end - at);
      content.set(durable.subarray(at, end), at);
      content.set(current.subarray(at, split), at);
    }
    inode.current = content;
    inode.durable = Buffer.from(content);
    inode.dropped.clear();
  }
}

class BootedDisk implements Disk {
  readonly #machine: SimulatedDisk;
  readonly #boot: number;

  constructor(machine: SimulatedDisk, boot: number) {
    this.#machine = machine;
    this.#boot = boot;
  }

  open(file: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    return this.#run('open', file, () => {
      let inode = this.#machine.find(file);
      if (mode === 'create') {
        if (inode !== undefined) throw failure('EEXIST', file);
        const made = new Inode();
        inode = made;
        this.#machine.change(path.dirname(file), names => names.set(file, made));
      }
      if (inode === undefined) throw failure('ENOENT', file);
      return new SimulatedFile(this.#machine, inode, file, (operation, start, finish) =>
        this.#run(operation, file, start, finish),
      );
    });
  }

  link(from: string, to: string): Promise<void> {
    return this.#run('link', to, () => {
      const inode = this.#machine.find(from);
      if (inode === undefined) throw failure('ENOENT', from);
      if (this.#machine.find(to) !== undefined) throw failure('EEXIST', to);
      this.#machine.change(path.dirname(to), names => names.set(to, inode));
    });
  }

  rename(from: string, to: string): Promise<void> {
    return this.#run('rename', to, () => {
      const inode = this.#machine.find(from);
      if (inode === undefined) throw failure('ENOENT', from);
      this.#machine.change(path.dirname(to), names => {
        names.delete(from);
        names.set(to, inode);
      });
    });
  }

  unlink(file: string): Promise<void> {
    return this.#run('unlink', file, () => {
      if (this.#machine.find(file) === undefined) throw failure('ENOENT', file);
      this.#machine.change(path.dirname(file), names => names.delete(file));
    });
  }

  list(directory: string): Promise<string[]> {
    return this.#run('read', directory, () =>
      this.#machine
        .files()
        .filter(file => path.dirname(file) === directory)
        .map(file => path.basename(file)),
    );
  }

  makeDirectory(): Promise<void> {
    return this.#run('open', '', () => undefined);
  }

  syncDirectory(directory: string): Promise<void> {
    return this.#run(
      'syncDirectory',
      directory,
      () => undefined,
      () => this.#machine.syncNames(directory),
    );
  }

  free(): Promise<number> {
    return this.#run('read', '', () => this.#machine.capacity - this.#machine.usedBytes);
  }

  own(): Promise<Ownership> {
    return Promise.resolve({ tookOver: false, lost: () => this.#machine.lost, release: async () => {} });
  }

  /** `start` happens at once, as in the page cache; `finish` when the operation completes, if there still is power. */
  #run<T>(operation: DiskOperation, file: string, start: () => T, finish?: () => void): Promise<T> {
    const machine = this.#machine;
    if (!machine.alive(this.#boot)) return new Promise(() => undefined);
    machine.operations++;
    let result: T;
    try {
      machine.fault?.(operation, file);
      result = start();
    } catch (error) {
      return this.#later(operation, file, () => {
        throw error;
      });
    }
    machine.onOperation?.(machine.operations);
    return this.#later(operation, file, () => {
      finish?.();
      return result;
    });
  }

  #later<T>(operation: DiskOperation, file: string, task: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const end = (): void =>
        this.#machine.end(operation, file, () => {
          if (!this.#machine.alive(this.#boot)) return;
          try {
            resolve(task());
          } catch (error) {
            reject(error);
          }
        });
      const wait = (turns: number): unknown => setImmediate(turns > 1 ? () => wait(turns - 1) : end);
      wait(this.#machine.turns());
    });
  }
}

type Run = <T>(operation: DiskOperation, start: () => T, finish?: () => void) => Promise<T>;

class SimulatedFile implements DiskFile {
  readonly #machine: SimulatedDisk;
  readonly #inode: Inode;
  readonly #name: string;
  readonly #run: Run;
  /** Some systems have it. */
  readonly writeSynced: DiskFile['write'] | undefined;
  readonly direct: DirectWrites | undefined;

  constructor(machine: SimulatedDisk, inode: Inode, name: string, run: Run) {
    this.writeSynced = machine.writesSynced ? this.#writeSynced : undefined;
    this.direct = machine.writesDirect ? this.#direct : undefined;
    this.#machine = machine;
    this.#inode = inode;
    this.#name = name;
    this.#run = run;
  }

  read(buffer: Uint8Array, start: number, length: number, position: number): Promise<number> {
    return this.#run('read', () =>
      this.#inode.current.copy(buffer, start, position, Math.min(position + length, this.#inode.current.length)),
    );
  }

  write(buffer: Uint8Array, start: number, length: number, position: number): Promise<void> {
    return this.#run('write', () => {
      const inode = this.#inode;
      const grows = Math.max(0, position + length - inode.current.length);
      const room = Math.max(0, this.#machine.capacity - this.#machine.usedBytes);
      const fits = grows > room ? Math.max(0, length - (grows - room)) : length;
      if (position + fits > inode.current.length)
        inode.current = Buffer.concat([inode.current, Buffer.alloc(position + fits - inode.current.length)]);
      inode.current.set(buffer.subarray(start, start + fits), position);
      for (let at = position - (position % sectorBytes); at < position + fits; at += sectorBytes)
        inode.dropped.delete(at);
      if (fits < length) throw failure('ENOSPC', this.#name);
    });
  }

  sync(): Promise<void> {
    return this.#sync(0, Number.POSITIVE_INFINITY);
  }

  #writeSynced = async (...of: Parameters<DiskFile['write']>): Promise<void> => {
    await this.write(...of);
    const [, , length, position] = of;
    await this.#sync(position, position + length);
  };

  #direct: DirectWrites = {
    write: (...of) => {
      this.#checkDirect(...of);
      return this.write(...of);
    },
    writeSynced: (...of) => {
      this.#checkDirect(...of);
      const [buffer, start, length] = of;
      const isCommit = buffer.subarray(start, start + length).some(byte => byte !== 0);
      return isCommit ? this.#commit(of) : this.#writeSynced(...of);
    },
  };

  async #commit(of: Parameters<DiskFile['write']>): Promise<void> {
    const machine = this.#machine;
    machine.directCommits++;
    if (machine.commits.size > 0) machine.secondCommits++;
    const commit = {};
    machine.commits.add(commit);
    try {
      await this.#writeSynced(...of);
      if (machine.commits.values().next().value !== commit) machine.overtaken++;
    } finally {
      machine.commits.delete(commit);
    }
  }

  /** Refuses what real disks refuse, and what would endanger what is there. */
  #checkDirect(...[buffer, start, length, position]: Parameters<DiskFile['write']>): void {
    for (const place of [buffer.byteOffset + start, length, position])
      if (place % sectorBytes !== 0) throw failure('EINVAL', this.#name);
    if (this.#inode.current.subarray(position, position + length).some(byte => byte !== 0))
      throw new Error(`${this.#name}: ${length} bytes at ${position} were written before`);
  }

  /** Of the sectors from `start` to `end` alone. */
  #sync(start: number, end: number): Promise<void> {
    let snapshot: Buffer = Buffer.alloc(0);
    return this.#run(
      'sync',
      () => {
        snapshot = this.#inode.synced(start, end);
      },
      () => {
        if (end === Number.POSITIVE_INFINITY) this.#inode.durable = snapshot;
        else this.#inode.settle(start, snapshot);
      },
    ).catch((error: unknown) => {
      this.#inode.drop(start, end);
      throw error;
    });
  }

  truncate(length: number): Promise<void> {
    return this.#run('truncate', () => {
      const { current } = this.#inode;
      this.#inode.current =
        length <= current.length
          ? Buffer.from(current.subarray(0, length))
          : Buffer.concat([current, Buffer.alloc(length - current.length)]);
    });
  }

  size(): Promise<number> {
    return this.#run('read', () => this.#inode.current.length);
  }

  close(): Promise<void> {
    return this.#run('read', () => undefined);
  }
}

export function failure(code: string, file: string): Error {
  return Object.assign(new Error(`${code}: simulated, ${file}`), { code });
}
