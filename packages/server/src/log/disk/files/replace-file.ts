import * as path from 'node:path';
import type { Disk, DiskFile, DraftDisk } from './disk.ts';

/** Writes a file that is either wholly old or wholly new, whenever the power is cut. */
export async function replaceFile(disk: Disk, file: string, fill: (file: DiskFile) => Promise<void>): Promise<void> {
  await giveName(disk, await writeTemporary(disk, file, fill), file);
}

/** Writes what is to become `file` under a temporary name, and returns that. */
export async function writeTemporary(
  disk: DraftDisk,
  file: string,
  fill: (file: DiskFile) => Promise<void>,
  temporary: string = `${file}.tmp`,
): Promise<string> {
  await disk.unlink(temporary).catch(() => undefined);
  await writeNewFile(disk, temporary, fill);
  return temporary;
}

/** Makes a file that is not there yet, and syncs it; on an error nothing of it is left. */
export async function writeNewFile(
  disk: DraftDisk,
  file: string,
  fill: (file: DiskFile) => Promise<void>,
): Promise<void> {
  const handle = await disk.open(file, 'create');
  try {
    await fill(handle);
    await handle.sync();
  } catch (error) {
    await disk.unlink(file).catch(() => undefined);
    throw error;
  } finally {
    await handle.close();
  }
}

/** The temporary file takes the place of `file`, durably. */
export async function giveName(disk: Disk, temporary: string, file: string): Promise<void> {
  await disk.rename(temporary, file);
  await disk.syncDirectory(path.dirname(file));
}
