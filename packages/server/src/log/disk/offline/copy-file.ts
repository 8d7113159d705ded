import { type Disk, readOnce } from '../files/disk.ts';
import { replaceFile } from '../files/replace-file.ts';
import { writeWhole } from './whole-files.ts';

/** Copies the first `bytes` bytes of a file, through a temporary name: it appears whole and synced, or not at all. */
export async function copyFile(disk: Disk, from: string, to: string, bytes: number): Promise<void> {
  const source = await disk.open(from, 'read');
  try {
    await replaceFile(disk, to, target =>
      writeWhole(target, bytes, async (memory, at) => {
        if ((await readOnce(source, memory, at)) < memory.length)
          throw new Error(`${from} ends before its ${bytes} bytes: it is not the file that it should be`);
      }),
    );
  } finally {
    await source.close();
  }
}
