// no part of the libraries that the server is compiled with
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer };
};

const pageBytes = 64 * 1024;

/**
 * Memory that direct reads and writes (`O_DIRECT`) accept at every multiple of a block: it begins at a border of a page,
 * where that of `Buffer` and `ArrayBuffer` begins anywhere. At least `bytes` long. It lies in a WebAssembly memory, of which
 * each takes some gigabytes of addresses, though no memory for them: for few that live long, not for one a read. Cannot be
 * transferred to another thread.
 */
export function alignedMemory(bytes: number): Buffer<ArrayBuffer> {
  const { buffer } = new WebAssembly.Memory({ initial: Math.ceil(bytes / pageBytes) });
  return Buffer.from(buffer);
}

/**
 * What direct reads and writes are done in, in the file and in memory. Disks with blocks of 4096 bytes refuse these; were
 * commits padded to that, 64 records would take a third more of the file, and no less time.
 */
export const blockBytes = 512;

/** A multiple of the blocks of all usual disks: for what is not written frame by frame, and may be longer than it has to be. */
export const anyDiskBlockBytes = 4096;

/** Rounds up to a border of a block. */
export function alignToBlock(position: number): number {
  return Math.ceil(position / blockBytes) * blockBytes;
}
