import { nodeDisk } from '../../src/log/disk/files/node-disk.ts';
import type { Disk, DiskFile } from '../../src/log/index.ts';

/** The real disk, of which `fault` may let any write, sync or read of a file fail. */
export class FailingDisk {
  /** Called before each; throws what it then fails with. */
  fault: ((operation: 'read' | 'write' | 'sync', file: string) => void) | undefined;

  readonly disk: Disk = {
    ...nodeDisk,
    open: async (file, mode) => this.#watched(await nodeDisk.open(file, mode), file),
  };

  #watched(real: DiskFile, file: string): DiskFile {
    const first = async (operation: 'read' | 'write' | 'sync'): Promise<void> => this.fault?.(operation, file);
    return {
      read: (...args) => first('read').then(() => real.read(...args)),
      write: (...args) => first('write').then(() => real.write(...args)),
      sync: () => first('sync').then(() => real.sync()),
      truncate: length => real.truncate(length),
      size: () => real.size(),
      close: () => real.close(),
    };
  }
}

/** What a bad sector gives. */
export function inputOutputError(file: string): Error {
  return Object.assign(new Error(`EIO: i/o error, ${file}`), { code: 'EIO' });
}
