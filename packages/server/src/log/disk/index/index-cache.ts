import { ChunkMemory } from '../segment/chunk-memory.ts';

/** Bytes of index parts that are kept for all segments together. */
const defaultBytes = 24 * 1024 * 1024;

/** Parts of the indexes of sealed segments, read when needed; the least used go first. One read serves all who wait. */
export class IndexCache {
  #bytes = 0;
  // in order of use
  readonly #parts = new Map<string, { value: Promise<unknown>; bytes: number }>();
  /** For what is only looked through. */
  readonly memory: ChunkMemory = new ChunkMemory();
  readonly #maxBytes: number;

  constructor(maxBytes: number = defaultBytes) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** `load` says how many bytes of memory the part takes. A part that failed to load is not kept. */
  get<T>(key: string, load: () => Promise<{ value: T; bytes: number }>): Promise<T> {
    const kept = this.#parts.get(key);
    if (kept !== undefined) {
      this.#parts.delete(key);
      this.#parts.set(key, kept);
      return kept.value as Promise<T>;
    }
    const part = { value: undefined as unknown as Promise<T>, bytes: 0 };
    part.value = load().then(
      loaded => {
        if (this.#parts.get(key) === part) {
          part.bytes = loaded.bytes + key.length * 2;
          this.#bytes += part.bytes;
          this.#shrink();
        }
        return loaded.value;
      },
      error => {
        if (this.#parts.get(key) === part) this.#parts.delete(key);
        throw error;
      },
    );
    this.#parts.set(key, part);
    return part.value;
  }

  /** Forgets every part whose key begins so. */
  forget(prefix: string): void {
    for (const [key, part] of this.#parts) {
      if (!key.startsWith(prefix)) continue;
      this.#parts.delete(key);
      this.#bytes -= part.bytes;
    }
  }

  #shrink(): void {
    for (const [key, part] of this.#parts) {
      if (this.#bytes <= this.#maxBytes) return;
      if (part.bytes === 0) continue; // still loading
      this.#parts.delete(key);
      this.#bytes -= part.bytes;
    }
  }
}
