import { alignedMemory, anyDiskBlockBytes } from '../files/aligned-memory.ts';
import { type Disk, type DiskFile, readOnce } from '../files/disk.ts';

/** Read at once: long reads would keep the commits of a server beside from the disk and from the core. */
const stepBytes = 128 * 1024;

/** All of a file; in `memory` when that is large enough. */
export async function readWhole(disk: Pick<Disk, 'open'>, path: string, memory?: Buffer): Promise<Buffer> {
  const file = await disk.open(path, 'read');
  try {
    const size = await file.size();
    const buffer = memory !== undefined && memory.length >= size ? memory : Buffer.allocUnsafeSlow(size);
    let end = 0;
    while (end < size) {
      const got = await readOnce(file, buffer.subarray(end, Math.min(end + stepBytes, size)), end);
      if (got === 0) break;
      end += got;
    }
    return buffer.subarray(0, end);
  } finally {
    await file.close();
  }
}

/**
 * Writes a new file of `bytes` bytes by as short writes, past the page cache where that is possible; `fill` puts what is from
 * a position on into the memory.
 */
export async function writeWhole(
  file: DiskFile,
  bytes: number,
  fill: (memory: Buffer, position: number) => Promise<void> | void,
): Promise<void> {
  const memory = free.pop() ?? alignedMemory(stepBytes);
  try {
    for (let at = 0; at < bytes; at += stepBytes) {
      const step = Math.min(bytes - at, stepBytes);
      await fill(memory.subarray(0, step), at);
      const blocks = file.direct === undefined ? 0 : step - (step % anyDiskBlockBytes);
      if (blocks > 0) await file.direct!.write(memory, 0, blocks, at);
      if (blocks < step) await file.write(memory, blocks, step - blocks, at + blocks);
    }
  } finally {
    free.push(memory);
  }
}

/** Memory that no write is using. */
const free: Buffer[] = [];

/** The disk for one who looks through whole indexes: block by block each would be thousands of reads. */
export function wholeIndexes(disk: Pick<Disk, 'open'>): Pick<Disk, 'open'> {
  return {
    open: async (path, mode) =>
      path.endsWith('.idx') && mode === 'read' ? inMemory(await readWhole(disk, path)) : disk.open(path, mode),
  };
}

function inMemory(content: Buffer): DiskFile {
  const refuse = (): Promise<never> => Promise.reject(new Error('a copy in memory cannot be changed'));
  return {
    read: (buffer, start, length, position) =>
      Promise.resolve(content.copy(buffer, start, Math.min(position, content.length), position + length)),
    size: () => Promise.resolve(content.length),
    close: () => Promise.resolve(),
    write: refuse,
    sync: refuse,
    truncate: refuse,
  };
}
