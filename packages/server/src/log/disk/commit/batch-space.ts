import { BatchTopicsBuilder, doubled } from '../../batch-topics.ts';
import { alignedMemory } from '../files/aligned-memory.ts';

/** Most bytes of one write, unless a single record is larger. */
export const batchBytes: number = 1024 * 1024;

/** The memory that a batch is collected in: bytes as they go to disk, and what is known of each record. */
export class BatchSpace {
  buffer: Buffer;
  /** Of all of `buffer`. */
  view: DataView;
  /** Where in the buffer each record begins. */
  places: Int32Array<ArrayBuffer> = new Int32Array(64);
  readonly topics: BatchTopicsBuilder = new BatchTopicsBuilder();
  /** The number in the segment of each record's topic. */
  numbers: Int32Array<ArrayBuffer> = new Int32Array(64);

  readonly #allocate: (bytes: number) => Buffer;

  constructor(bytes: number, allocate: (bytes: number) => Buffer = Buffer.allocUnsafeSlow) {
    this.#allocate = allocate;
    this.buffer = allocate(bytes);
    this.view = viewOf(this.buffer);
  }

  /** Makes room for `needed` bytes behind the `used` ones. */
  enlarge(needed: number, used: number): void {
    const larger = this.#allocate(Math.max(needed, this.buffer.length * 2));
    larger.set(this.buffer.subarray(0, used));
    this.buffer = larger;
    this.view = viewOf(larger);
  }

  /** Notes where the record begins that is the `index`th, and the number of its topic. Hot. */
  place(index: number, at: number, number: number): void {
    if (index === this.places.length) {
      this.places = doubled(this.places);
      this.numbers = doubled(this.numbers);
    }
    this.places[index] = at;
    this.numbers[index] = number;
  }
}

/** Spaces that wait for the next batch: the steady state allocates none. */
export class BatchSpaces {
  readonly #free: BatchSpace[] = [];

  take(): BatchSpace {
    // what is not used of it is no memory yet
    return this.#free.pop() ?? new BatchSpace(batchBytes + 64 * 1024, alignedMemory);
  }

  give(space: BatchSpace): void {
    if (this.#free.length < 4 && space.buffer.length <= batchBytes * 2) this.#free.push(space);
  }
}

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
}
