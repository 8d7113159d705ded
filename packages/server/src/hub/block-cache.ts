import type { Block } from './blocks.ts';

/** What a key and its entry take beside the bytes, about. */
const entryBytes = 256;

/** The newest blocks, up to a budget, and beyond it those that an outlet still holds: finding them again costs nothing. */
export class BlockCache {
  readonly #maxBytes: number;
  readonly #kept = new Map<string, Block>();
  readonly #pinned = new Map<string, Block>();
  #keptBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(key: string): Block | undefined {
    return this.#kept.get(key) ?? this.#pinned.get(key);
  }

  clear(): void {
    this.#kept.clear();
    this.#pinned.clear();
    this.#keptBytes = 0;
  }

  keep(key: string, block: Block): void {
    this.#kept.set(key, block);
    this.#keptBytes += block.bytes.length + entryBytes;
    if (this.#keptBytes > this.#maxBytes) this.#evict();
  }

  #evict(): void {
    for (const [key, { pins }] of this.#pinned) if (pins === 0) this.#pinned.delete(key);
    for (const [key, block] of this.#kept) {
      this.#kept.delete(key);
      this.#keptBytes -= block.bytes.length + entryBytes;
      if (block.pins > 0) this.#pinned.set(key, block);
      if (this.#keptBytes <= this.#maxBytes / 2) return;
    }
  }
}
