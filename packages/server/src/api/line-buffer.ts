/** The bytes of a line whose end has not come yet. Doubles as it grows, so that a line of one-byte chunks is not copied each time. */
export class LineBuffer {
  length = 0;
  #bytes: Buffer = Buffer.alloc(0);

  append(chunk: Buffer, start: number, end: number): void {
    const needed = this.length + end - start;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.length, 256));
      this.#bytes.copy(grown, 0, 0, this.length);
      this.#bytes = grown;
    }
    chunk.copy(this.#bytes, this.length, start, end);
    this.length = needed;
  }

  /** The line; the buffer is empty then. */
  take(): Buffer {
    const line = this.#bytes.subarray(0, this.length);
    this.#bytes = Buffer.alloc(0);
    this.length = 0;
    return line;
  }
}
