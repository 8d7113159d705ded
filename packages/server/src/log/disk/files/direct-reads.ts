import { alignedMemory, anyDiskBlockBytes } from './aligned-memory.ts';
import { errorCode } from './disk.ts';

/** Reads into memory at an aligned place, at an aligned position; returns how many bytes. */
export type AlignedRead = (memory: Buffer, length: number, position: number) => Promise<number>;

/** Bytes of one read: a chunk of a scan, wherever it begins. */
const stepBytes = 128 * 1024 + 2 * anyDiskBlockBytes;

/** Memory that no read is using: as many as ever were under way at once. */
const free: Buffer[] = [];

/**
 * Reads any range by reads of whole blocks, and returns how many bytes there were; undefined when the system refuses such
 * reads (EINVAL): then another way has to be taken.
 */
export async function readBlocks(
  read: AlignedRead,
  buffer: Uint8Array,
  start: number,
  length: number,
  position: number,
): Promise<number | undefined> {
  const memory = free.pop() ?? alignedMemory(stepBytes);
  try {
    let done = 0;
    while (done < length) {
      const before = (position + done) % anyDiskBlockBytes;
      const wanted = Math.min(before + length - done, stepBytes);
      const got = await read(
        memory,
        Math.ceil(wanted / anyDiskBlockBytes) * anyDiskBlockBytes,
        position + done - before,
      );
      const useful = Math.min(got, wanted) - before;
      if (useful <= 0) break;
      memory.copy(buffer, start + done, before, before + useful);
      done += useful;
    }
    return done;
  } catch (error) {
    if (errorCode(error) === 'EINVAL') return undefined;
    throw error;
  } finally {
    free.push(memory);
  }
}
