import * as path from 'node:path';
import { type Disk, errorCode } from './disk.ts';
import { readAll } from './read-segment.ts';
import { writeNewFile } from './replace-file.ts';

const folder = 'quarantine';

/** Keeps bytes that are about to be cut or left behind, or nothing of them; returns where, relative to the data directory. */
export async function copyAside(disk: Disk, directory: string, name: string, bytes: Buffer): Promise<string> {
  const quarantine = path.join(directory, folder);
  await disk.makeDirectory(quarantine);
  for (let n = 0; ; n++) {
    const kept = n === 0 ? name : `${name}.${n}`;
    const file = path.join(quarantine, kept);
    try {
      await writeNewFile(disk, file, handle => handle.write(bytes, 0, bytes.length, 0));
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error;
      // refused starts come again and again: the same bytes are kept once
      if ((await readAll(disk, file)).equals(bytes)) return path.join(folder, kept);
      continue;
    }
    await disk.syncDirectory(quarantine);
    return path.join(folder, kept);
  }
}
