const largestChunk = 4 * 1024 * 1024;
const smallestChunk = 1024;

/**
 * The memory of what the hot tail keeps of encoded batches, in chunks that are used again and again: memory of its own for
 * each batch makes V8 collect everything every few thousand records, for what it holds outside of the heap.
 *
 *     chunks   │ batch │ batch │ b… │    │ … │ batch │ free      │    │ free │
 *               oldest                         newest
 *
 * Batches go in the order in which they came, so a chunk is free as soon as all that was in it has been given back.
 */
export class HotMemory {
  readonly #chunkBytes: number;
  #newest: HotChunk;
  readonly #free: HotChunk[] = [];
  /** Something was taken from it. */
  isUsed = false;

  /** `bytes`: about as many are held at once. Nothing is allocated before it is used. */
  constructor(bytes: number) {
    const part = Math.ceil(bytes / 16 / smallestChunk) * smallestChunk;
    this.#chunkBytes = Math.min(Math.max(part, smallestChunk), largestChunk);
    this.#newest = new HotChunk(0);
  }

  /** Hot. */
  take(bytes: number): HotPlace {
    this.isUsed = true;
    // what would leave much of a chunk empty lies alone
    if (bytes * 2 > this.#chunkBytes) return new HotChunk(bytes).take(bytes);
    if (this.#newest.left < bytes) {
      const full = this.#newest;
      this.#newest = this.#free.pop() ?? new HotChunk(this.#chunkBytes);
      this.#keep(full);
    }
    return this.#newest.take(bytes);
  }

  /** Nobody reads what is at the place any more. */
  give({ chunk }: HotPlace): void {
    chunk.batches--;
    this.#keep(chunk);
  }

  /** For the batches to come, when no others are in it. */
  #keep(chunk: HotChunk): void {
    if (chunk.batches > 0 || chunk === this.#newest || chunk.bytes.length !== this.#chunkBytes) return;
    chunk.clear();
    if (this.#free.length < 2) this.#free.push(chunk);
  }
}

/** Where the bytes of a batch are, and what is known of its records. */
export class HotPlace {
  readonly chunk: HotChunk;
  /** A multiple of 4. */
  readonly at: number;

  constructor(chunk: HotChunk, at: number) {
    this.chunk = chunk;
    this.at = at;
  }
}

export class HotChunk {
  readonly bytes: Buffer;
  /** The same memory. */
  readonly numbers: Int32Array;
  /** Batches that have a place in it. */
  batches = 0;
  #used = 0;

  constructor(bytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(Math.ceil(bytes / 4) * 4);
    this.numbers = new Int32Array(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length / 4);
  }

  get left(): number {
    return this.bytes.length - this.#used;
  }

  take(bytes: number): HotPlace {
    const place = new HotPlace(this, this.#used);
    this.#used += Math.ceil(bytes / 4) * 4;
    this.batches++;
    return place;
  }

  clear(): void {
    this.#used = 0;
  }
}
