import { type Disk, type DiskFile, type Ownership, OwnershipLost } from './disk.ts';

/**
 * The disk of one who owns the directory: refuses to change a file once another process has taken it over (I9). Writes
 * to a file that is open are the writer's to check, which has to ask once more before it acks.
 */
export function ownedDisk(disk: Disk, ownership: Ownership): Disk {
  const check = (): void => {
    if (ownership.lost()) throw new OwnershipLost();
  };
  return {
    ...readingOf(disk),
    async open(path, mode) {
      if (mode === 'read') return disk.open(path, mode);
      check();
      return ownedFile(await disk.open(path, mode), check);
    },
    async link(from, to) {
      check();
      await disk.link(from, to);
    },
    async rename(from, to) {
      check();
      await disk.rename(from, to);
    },
    async unlink(path) {
      check();
      await disk.unlink(path);
    },
  };
}

function readingOf(disk: Disk): Omit<Disk, 'open' | 'link' | 'rename' | 'unlink'> {
  return {
    list: directory => disk.list(directory),
    makeDirectory: path => disk.makeDirectory(path),
    syncDirectory: path => disk.syncDirectory(path),
    free: path => disk.free(path),
    own: (directory, how) => disk.own(directory, how),
  };
}

function ownedFile(file: DiskFile, check: () => void): DiskFile {
  return {
    read: (...of) => file.read(...of),
    write: (...of) => file.write(...of),
    sync: () => file.sync(),
    writeSynced: file.writeSynced,
    get direct() {
      return file.direct;
    },
    async truncate(length) {
      check();
      await file.truncate(length);
    },
    size: () => file.size(),
    close: () => file.close(),
  };
}
