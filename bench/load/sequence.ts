// Which messages one subscriber got, and in which order: by their stamps, of which no two are the same.
import { firstMarker, nextMarker, readBuffer } from './counting.ts';
import { stampDigits } from './payload.ts';

export class Sequence {
  /** Of all stamps. Exact up to 2 ** 53: a hundred thousand messages of an hour. */
  sum = 0;
  /** Of the stamps in their order, 32 bits: equal for equal sequences. */
  hash = 0;
  /** All stamps in their order; kept only when asked for. */
  readonly stamps: number[] | undefined;
  // digits of a stamp that the chunk's border cut
  #part = 0;
  #missing = 0;

  constructor(keep = false) {
    this.stamps = keep ? [] : undefined;
  }

  /** Takes the deliveries in `readBuffer[from, to)`, counted at their markers. Hot. */
  take(from: number, to: number): number {
    let count = 0;
    if (this.#missing > 0) this.#digits(from, to);
    for (let at = firstMarker(from, to); at !== -1; at = nextMarker(at, to)) {
      count++;
      this.#part = 0;
      this.#missing = stampDigits;
      this.#digits(at + 1, to);
    }
    return count;
  }

  #digits(from: number, to: number): void {
    const end = Math.min(from + this.#missing, to);
    let value = this.#part;
    for (let at = from; at < end; at++) value = value * 10 + readBuffer[at]! - 48;
    this.#part = value;
    this.#missing -= end - from;
    if (this.#missing > 0) return;
    this.sum += value;
    this.hash = (Math.imul(this.hash, 0x01000193) ^ value) | 0;
    this.stamps?.push(value);
  }
}
