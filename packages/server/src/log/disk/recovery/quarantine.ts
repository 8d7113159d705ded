import * as path from 'node:path';
import { deletionsName } from '../deletion/deletions-file.ts';
import { type Disk, errorCode, ignoreMissing } from '../files/disk.ts';
import { writeNewFile } from '../files/replace-file.ts';
import { readAll } from '../segment/read-segment.ts';

const folder = 'quarantine';

/** Keeps bytes that are about to be cut or left behind, or nothing of them; returns where, relative to the data directory. */
export function copyAside(disk: Disk, directory: string, name: string, bytes: Buffer): Promise<string> {
  return underFreeName(disk, directory, name, async file => {
    try {
      await writeNewFile(disk, file, handle => handle.write(bytes, 0, bytes.length, 0));
    } catch (error) {
      // refused starts come again and again: the same bytes are kept once
      if (errorCode(error) !== 'EEXIST' || !(await readAll(disk, file)).equals(bytes)) throw error;
      await writeAgain(disk, file, bytes);
    }
  });
}

/** A start that was killed may not have got to sync them. */
async function writeAgain(disk: Disk, file: string, bytes: Buffer): Promise<void> {
  const handle = await disk.open(file, 'write');
  try {
    await handle.write(bytes, 0, bytes.length, 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Keeps a file that cannot be read, whose name is about to be taken from it: perhaps others can read some of it. */
export function linkAside(disk: Disk, directory: string, name: string): Promise<string> {
  return underFreeName(disk, directory, name, file => disk.link(path.join(directory, name), file));
}

/** `keep` rejects with EEXIST when something else is there under that name. */
async function underFreeName(
  disk: Disk,
  directory: string,
  name: string,
  keep: (file: string) => Promise<void>,
): Promise<string> {
  const quarantine = path.join(directory, folder);
  await disk.makeDirectory(quarantine);
  for (let n = 0; ; n++) {
    const kept = n === 0 ? name : `${name}.${n}`;
    try {
      await keep(path.join(quarantine, kept));
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      continue;
    }
    await disk.syncDirectory(quarantine);
    return path.join(folder, kept);
  }
}

/** Removes the copies in which one of the topics is named; returns where they were. */
export async function removeCopiesOf(disk: Disk, directory: string, topics: readonly string[]): Promise<string[]> {
  const quarantine = path.join(directory, folder);
  const names = (await disk.list(quarantine).catch(ignoreMissing)) ?? [];
  const wanted = topics.map(topic => Buffer.from(topic));
  const removed: string[] = [];
  for (const name of names) {
    // it holds no record, and is all that tells which deletions may be unfinished
    if (name.startsWith(deletionsName)) continue;
    const file = path.join(quarantine, name);
    if (!(await mentions(disk, file, wanted))) continue;
    await disk.unlink(file);
    removed.push(path.join(folder, name));
  }
  if (removed.length > 0) await disk.syncDirectory(quarantine);
  return removed;
}

const searchedBytes = 1024 * 1024;

async function mentions(disk: Disk, file: string, wanted: readonly Buffer[]): Promise<boolean> {
  const overlap = Math.max(...wanted.map(({ length }) => length));
  const buffer = Buffer.allocUnsafeSlow(searchedBytes + overlap);
  const handle = await disk.open(file, 'read');
  try {
    for (let at = 0; ; at += searchedBytes) {
      const got = await handle.read(buffer, 0, buffer.length, at);
      if (wanted.some(topic => buffer.subarray(0, got).includes(topic))) return true;
      if (got < buffer.length) return false;
    }
  } finally {
    await handle.close();
  }
}
