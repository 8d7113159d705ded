import * as path from 'node:path';
import type { Clock } from '../../clock.ts';
import { alignedMemory, alignToBlock, blockBytes } from '../files/aligned-memory.ts';
import { type Disk, type DiskFile, ignoreMissing, isNoSpace, OwnershipLost } from '../files/disk.ts';

/** A file that is being filled with zeros. */
export interface Filling {
  readonly file: DiskFile;
  /** Bytes that are already there: frames go nowhere else. */
  filled: number;
}

/** A file that will be the next segment: it gets its name when its first offset is known. */
export interface Prepared extends Filling {
  readonly path: string;
}

/** Bytes filled at once: a few times what a commit writes, so that a commit beside it hardly notices. */
const chunkBytes = 1024 * 1024;
const smallestChunk = chunkBytes / 4;
const chunkToCommit = 4;
const retryMs = 1000;

/**
 * Fills files with zeros ahead of the commits, in the background: the active segment first, then the next as far as the
 * active one is used. A commit then never makes a file grow, which halves the cost of its sync, and a full disk is met
 * here, where no frame is cut in two.
 */
export class Preparer {
  /** Why nothing more can be filled just now; clears by itself. */
  full: string | undefined;
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #directory: string;
  readonly #run: number;
  readonly #segmentBytes: number;
  readonly #onSpace: (full: string | undefined) => void;
  readonly #onError: (error: unknown) => void;
  readonly #zeros: Buffer;
  readonly #waiting: { filling: Filling | undefined; bytes: number; done: (filled: boolean) => void }[] = [];
  #active: Filling | undefined;
  #activeUsed = 0;
  readonly #largestChunk: number;
  #chunkBytes: number;
  #next: Prepared | undefined;
  #number = 0;
  #chunkOf: Filling | undefined;
  #chunk: Promise<void> | undefined;
  #working: Promise<void> | undefined;
  #cancelRetry: () => void = () => undefined;
  #failed = false;
  #closed = false;

  /** `run` is in the names of the files: an owner that was replaced must not take those of the new one for its own. */
  constructor(
    disk: Disk,
    clock: Clock,
    directory: string,
    run: number,
    segmentBytes: number,
    onSpace: (full: string | undefined) => void,
    onError: (error: unknown) => void,
  ) {
    this.#disk = disk;
    this.#clock = clock;
    this.#directory = directory;
    this.#run = run;
    this.#segmentBytes = segmentBytes;
    this.#onSpace = onSpace;
    this.#onError = onError;
    this.#zeros = alignedMemory(chunkBytes);
    this.#chunkBytes = this.#largestChunk = Math.min(chunkBytes, segmentBytes);
  }

  /** Begins work in the background. */
  start(): void {
    this.#work();
  }

  /** True once `filling` has `bytes` bytes; false when the disk is full. */
  fill(filling: Filling, bytes: number): Promise<boolean> {
    return filling.filled >= bytes ? Promise.resolve(true) : this.#wait(filling, bytes);
  }

  /** The active segment is committed up to `end`, and the disk has nothing to do until the next commit. Hot. */
  used(end: number): void {
    const committed = end - this.#activeUsed;
    this.#chunkBytes = Math.min(Math.max(alignToBlock(committed * chunkToCommit), smallestChunk), this.#largestChunk);
    this.#activeUsed = end;
    if (this.#working === undefined) this.#work();
  }

  /** The next file, with at least `bytes` bytes, which becomes the active one; undefined when the disk is full. */
  async take(bytes: number): Promise<Prepared | undefined> {
    if ((this.#next === undefined || this.#next.filled < bytes) && !(await this.#wait(undefined, bytes)))
      return undefined;
    const prepared = this.#next;
    this.#next = undefined;
    this.#active = prepared;
    this.#activeUsed = 0;
    this.#work();
    return prepared;
  }

  /** The file that `take` gave could not be used: it is the next again. */
  giveBack(prepared: Prepared): void {
    if (this.#active === prepared) this.#active = undefined;
    this.#next = prepared;
  }

  /** Resolves when `filling` will not be touched any more, so that it can be cut or closed. */
  async leave(filling: Filling): Promise<void> {
    if (this.#active === filling) this.#active = undefined;
    if (this.#chunkOf === filling) await this.#chunk?.catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry();
    await this.#working;
    this.#answer();
    if (this.#next === undefined) return;
    await this.#next.file.close();
    await this.#disk.unlink(this.#next.path).catch(error => {
      // a new owner removes what the last one had prepared
      if (!(error instanceof OwnershipLost)) ignoreMissing(error);
    });
  }

  #wait(filling: Filling | undefined, bytes: number): Promise<boolean> {
    if (this.full !== undefined || this.#closed || this.#failed) return Promise.resolve(false);
    return new Promise(done => {
      this.#waiting.push({ filling, bytes, done });
      this.#work();
    });
  }

  #work(): void {
    if (this.#working !== undefined || this.#closed || this.#failed || this.full !== undefined) return;
    if (this.#todo() === undefined) return;
    this.#working = this.#fillAll().finally(() => {
      this.#working = undefined;
      this.#work();
    });
  }

  async #fillAll(): Promise<void> {
    try {
      for (let todo = this.#todo(); todo !== undefined && !this.#closed; todo = this.#todo()) {
        this.#chunkOf = todo.filling ?? (await this.#create());
        this.#chunk = this.#fillChunk(this.#chunkOf, todo.upTo);
        await this.#chunk.finally(() => {
          this.#chunkOf = undefined;
        });
        this.#hasSpace();
        this.#answer();
      }
      this.#hasSpace();
    } catch (error) {
      if (isNoSpace(error)) {
        this.full = error instanceof Error ? error.message : String(error);
        this.#onSpace(this.full);
        this.#cancelRetry = this.#clock.after(retryMs, () => this.#retry());
      } else {
        this.#failed = true;
        this.#onError(error);
      }
      for (const { done } of this.#waiting.splice(0)) done(false);
    }
  }

  #hasSpace(): void {
    if (this.full === undefined) return;
    this.full = undefined;
    this.#onSpace(undefined);
  }

  #retry(): void {
    if (this.#closed || this.#working !== undefined) return;
    this.#working = this.#fillAll().finally(() => {
      this.#working = undefined;
      this.#work();
    });
  }

  /** What is missing most: first what somebody waits for, then the active segment, then the next. */
  #todo(): { filling: Filling | undefined; upTo: number } | undefined {
    const first = this.#waiting[0];
    if (first !== undefined) return { filling: first.filling ?? this.#next, upTo: first.bytes };
    const active = this.#active;
    if (active !== undefined && active.filled < this.#segmentBytes)
      return { filling: active, upTo: this.#segmentBytes };
    const filled = this.#next?.filled ?? 0;
    // in one go it would hold commits up for as long as it takes
    const wanted = active === undefined ? this.#segmentBytes : Math.min(this.#activeUsed, this.#segmentBytes);
    return filled < wanted ? { filling: this.#next, upTo: this.#segmentBytes } : undefined;
  }

  async #create(): Promise<Prepared> {
    const file = path.join(this.#directory, `prepared.${this.#run}.${this.#number++}.tmp`);
    this.#next = { path: file, file: await this.#disk.open(file, 'create'), filled: 0 };
    return this.#next;
  }

  async #fillChunk(filling: Filling, upTo: number): Promise<void> {
    const end = Math.min(filling.filled + this.#chunkBytes, Math.max(upTo, this.#segmentBytes));
    try {
      await this.#write(filling, end);
      filling.filled = end;
    } catch (error) {
      // what was written of the chunk is given back: others need the space, and reads go on
      if (isNoSpace(error)) await filling.file.truncate(filling.filled);
      throw error;
    }
  }

  async #write(filling: Filling, end: number): Promise<void> {
    const { file, filled } = filling;
    const length = end - filled;
    const direct = filled % blockBytes === 0 && length % blockBytes === 0 ? file.direct : undefined;
    if (direct !== undefined && filling === this.#next) {
      // opening it syncs it once: each sync of a file that grew holds commits up
      await direct.write(this.#zeros, 0, length, filled);
    } else if (direct !== undefined) {
      await direct.writeSynced(this.#zeros, 0, length, filled);
    } else {
      await file.write(this.#zeros, 0, length, filled);
      await file.sync();
    }
  }

  #answer(): void {
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const { filling, bytes, done } = this.#waiting[i]!;
      const at = filling ?? this.#next;
      if (!this.#closed && (at === undefined || at.filled < bytes)) continue;
      this.#waiting.splice(i, 1);
      done(at !== undefined && at.filled >= bytes);
    }
  }
}
