/**
 * The disk as the log sees it: the seam through which faults, full disks and power cuts are simulated. All paths are
 * inside the data directory. Errors are those of node:fs, with their `code`.
 */
export interface Disk {
  /** `create` makes a new file and fails when there is one (O_EXCL); `write` opens an existing one for both. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile>;
  /** A second name for a file; fails when there is a file of that name. */
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** Names in the directory, in no order. */
  list(directory: string): Promise<string[]>;
  /** Makes it, and those above it that are missing; their names are durable then. */
  makeDirectory(path: string): Promise<void>;
  /** Makes creations, renames and removals in it durable. */
  syncDirectory(path: string): Promise<void>;
  /** Bytes that can still be written to the file system of `path`. */
  free(path: string): Promise<number>;
  /** Makes this process the only owner of a data directory, or fails naming the one that is. */
  own(directory: string, how?: OwnOptions): Promise<Ownership>;
}

/** What is enough to read what is there and to write files that nobody else knows of yet. */
export type DraftDisk = Pick<Disk, 'open' | 'unlink'>;

export interface DiskFile {
  /** Reads until `length` bytes or the end of the file; returns how many. */
  read(buffer: Uint8Array, start: number, length: number, position: number): Promise<number>;
  /**
   * The same for what is read once: the system reads nothing ahead and keeps nothing, so that others wait less for the disk.
   * Undefined where it has no such reads.
   */
  readonly readOnce?: DiskFile['read'] | undefined;
  /** Writes all of it or fails. */
  write(buffer: Uint8Array, start: number, length: number, position: number): Promise<void>;
  /** fdatasync. */
  sync(): Promise<void>;
  /** The same as `write` and then a sync of what was written, in one call; undefined where the system has none. */
  readonly writeSynced?: DiskFile['write'] | undefined;
  /** Undefined where the file system has no such writes. */
  readonly direct?: DirectWrites | undefined;
  truncate(length: number): Promise<void>;
  size(): Promise<number>;
  close(): Promise<void>;
}

/** Fills the buffer as far as the file goes with what will not soon be read again, such as a part of a scan. */
export function readOnce(file: DiskFile, buffer: Uint8Array, position: number): Promise<number> {
  const { length } = buffer;
  return file.readOnce?.(buffer, 0, length, position) ?? file.read(buffer, 0, length, position);
}

/**
 * Writes past the page cache. What is written begins and ends at a border of a block, in the file and in memory, which is
 * `alignedMemory`. What was written otherwise to the same pages must be synced before.
 */
export interface DirectWrites {
  write: DiskFile['write'];
  writeSynced: DiskFile['write'];
}

export interface OwnOptions {
  /** Also from an owner that seems to live: at its next look it finds that it is one no more, and acks nothing. */
  readonly takeOver?: boolean | undefined;
}

export interface Ownership {
  /** True when an owner that died was replaced. */
  readonly tookOver: boolean;
  /** Whether another process has taken the directory over since. Synchronous and cheap: asked before every ack. */
  lost(): boolean;
  release(): Promise<void>;
}

export class OwnershipLost extends Error {
  constructor() {
    super('another process has taken over the data directory');
    this.name = 'OwnershipLost';
  }
}

/** A process that lives, or seems to, owns the directory. */
export class DirectoryInUse extends Error {
  constructor(directory: string, owner: string) {
    super(`the data directory ${directory} is in use by ${owner}; stop it or choose another directory`);
    this.name = 'DirectoryInUse';
  }
}

/** Whether an error means that there is no room: the log then refuses publishes and goes on. */
export function isNoSpace(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** For `catch`: throws what is not ENOENT. */
export function ignoreMissing(error: unknown): void {
  if (errorCode(error) !== 'ENOENT') throw error;
}
