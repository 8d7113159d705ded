import type { Random } from '../../src/log/random.ts';

/** Where a test with many seeds begins: at TEST_SEED, else anywhere. It has to say which it took. */
export function firstSeed(): number {
  const { TEST_SEED } = process.env;
  return TEST_SEED === undefined ? Math.floor(Math.random() * 1e9) : Number(TEST_SEED);
}

/** The same numbers for the same seed (mulberry32). */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** An integer in [0, below). */
  below(below: number): number {
    return Math.floor(this.next() * below);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  id(length: number): string {
    let id = '';
    while (id.length < length) id += this.below(36).toString(36);
    return id;
  }
}
