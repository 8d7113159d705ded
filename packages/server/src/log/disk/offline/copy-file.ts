import { type Disk, readOnce } from '../files/disk.ts';
import { replaceFile } from '../files/replace-file.ts';

const chunkBytes = 1024 * 1024;

/** Copies the first `bytes` bytes of a file, through a temporary name: it appears whole and synced, or not at all. */
export async function copyFile(disk: Disk, from: string, to: string, bytes: number): Promise<void> {
  const source = await disk.open(from, 'read');
  try {
    await replaceFile(disk, to, async target => {
      const buffer = Buffer.allocUnsafeSlow(Math.min(chunkBytes, bytes));
      for (let at = 0; at < bytes; at += buffer.length) {
        const length = Math.min(buffer.length, bytes - at);
        if ((await readOnce(source, buffer.subarray(0, length), at)) < length)
          throw new Error(`${from} ends before its ${bytes} bytes: it is not the file that it should be`);
        await target.write(buffer, 0, length, at);
      }
    });
  } finally {
    await source.close();
  }
}
