// The real disk with a difference.
import { nodeDisk } from '../../packages/server/src/log/disk/files/node-disk.ts';
import type { Disk, DiskFile } from '../../packages/server/src/log/index.ts';

export class ReadCounts {
  /** Bytes read of segments. */
  log = 0;
  /** Bytes read of their indexes. */
  index = 0;

  get all(): number {
    return this.log + this.index;
  }
}

/** Counts the bytes that are read. */
export function countingDisk(counts: ReadCounts): Disk {
  return diskWith((path, file) => {
    const counted =
      (read: DiskFile['read']): DiskFile['read'] =>
      async (...of) => {
        const got = await read(...of);
        if (path.endsWith('.idx')) counts.index += got;
        else counts.log += got;
        return got;
      };
    const { readOnce } = file;
    return {
      read: counted((...of) => file.read(...of)),
      readOnce: readOnce === undefined ? undefined : counted((...of) => readOnce.call(file, ...of)),
      writeSynced: file.writeSynced,
      get direct() {
        return file.direct;
      },
    };
  });
}

/** Syncs nothing: for what is synced as a whole once it is there. */
export const unsyncedDisk: Disk = {
  ...diskWith(() => ({ sync: async () => undefined })),
  syncDirectory: async () => undefined,
};

function diskWith(change: (path: string, file: DiskFile) => Partial<DiskFile>): Disk {
  return {
    ...nodeDisk,
    async open(path, mode) {
      const file = await nodeDisk.open(path, mode);
      const plain: DiskFile = {
        read: (buffer, start, length, position) => file.read(buffer, start, length, position),
        write: (buffer, start, length, position) => file.write(buffer, start, length, position),
        sync: () => file.sync(),
        truncate: length => file.truncate(length),
        size: () => file.size(),
        close: () => file.close(),
      };
      // getters stay getters
      return Object.defineProperties(plain, Object.getOwnPropertyDescriptors(change(path, file)));
    },
  };
}
