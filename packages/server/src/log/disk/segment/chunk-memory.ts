/** Buffers kept for later: some reads wait for others with what they have. */
const kept = 16;

/** Sizes that are asked for differ by what is held of the chunk before: so most fit. */
const step = 64 * 1024;

/** Memory for what is read in chunks and let go again: a new buffer for each keeps the garbage collector busy. */
export class ChunkMemory {
  readonly #free: ArrayBuffer[] = [];

  take(size: number): Buffer<ArrayBuffer> {
    const fitting = this.#free.findIndex(({ byteLength }) => byteLength >= size);
    if (fitting === -1) return Buffer.allocUnsafeSlow(Math.ceil(size / step) * step).subarray(0, size);
    return Buffer.from(this.#free.splice(fitting, 1)[0]!, 0, size);
  }

  /** Nobody needs any of it any more. */
  give({ buffer }: Buffer<ArrayBuffer>): void {
    if (buffer.byteLength > 0) this.#free.unshift(buffer);
    if (this.#free.length > kept) this.#free.pop();
  }
}
