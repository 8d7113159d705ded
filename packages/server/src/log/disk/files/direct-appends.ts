import { alignedMemory, anyDiskBlockBytes } from './aligned-memory.ts';

/** Written at once: a commit beside it hardly notices. */
const stepBytes = 64 * 1024;

/** Writes memory from its beginning at an aligned position, all of it. */
export type AlignedWrite = (memory: Buffer, length: number, position: number) => void;

const free: Buffer[] = [];

/**
 * Writes a new file from its beginning to its end by writes of whole blocks.
 *
 *   │ block │ block │ block │ bl…      what does not fill a block stays in memory,
 *   └── on the disk ──┘ └ held ┘       and is written with zeros behind it by `flush`
 */
export class DirectAppends {
  readonly #write: AlignedWrite;
  readonly #memory: Buffer = free.pop() ?? alignedMemory(stepBytes);
  /** Where the memory begins in the file. */
  #at = 0;
  #held = 0;

  constructor(write: AlignedWrite) {
    this.#write = write;
  }

  get end(): number {
    return this.#at + this.#held;
  }

  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const part = bytes.subarray(done, done + stepBytes - this.#held);
      this.#memory.set(part, this.#held);
      this.#held += part.length;
      done += part.length;
      if (this.#held < stepBytes) continue;
      this.#write(this.#memory, stepBytes, this.#at);
      this.#at += stepBytes;
      this.#held = 0;
    }
  }

  /** The file is longer then than what was appended, up to the end of a block. */
  flush(): void {
    const length = Math.ceil(this.#held / anyDiskBlockBytes) * anyDiskBlockBytes;
    if (length === 0) return;
    this.#memory.fill(0, this.#held, length);
    this.#write(this.#memory, length, this.#at);
  }

  close(): void {
    free.push(this.#memory);
  }
}
