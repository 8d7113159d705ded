// Log-linear histogram of microseconds: 64 steps for each power of two, so a quantile is right to 1.6 %.
const stepBits = 6;
const steps = 1 << stepBits;
const longest = 2 ** 31 - 1;

export interface Quantiles {
  /** Milliseconds; NaN without a value. */
  p50: number;
  p99: number;
  count: number;
}

export class Histogram {
  readonly #counts = new Float64Array(steps * (32 - stepBits));
  #total = 0;

  /** Hot: called for each acknowledgement and each sampled delivery. */
  record(microseconds: number): void {
    const value = Math.min(Math.max(microseconds | 0, 0), longest);
    const shift = Math.max(31 - Math.clz32(value) - stepBits, 0);
    this.#counts[shift * steps + (value >> shift)]!++;
    this.#total++;
  }

  /** Upper edge of the step in which the quantile lies, in milliseconds. */
  quantile(q: number): number {
    let left = Math.ceil(q * this.#total);
    for (let index = 0; index < this.#counts.length; index++) {
      left -= this.#counts[index]!;
      if (left <= 0 && this.#total > 0) {
        const shift = Math.max((index >> stepBits) - 1, 0);
        return ((index - shift * steps + 1) * 2 ** shift) / 1000;
      }
    }
    return Number.NaN;
  }

  quantiles(): Quantiles {
    return { p50: this.quantile(0.5), p99: this.quantile(0.99), count: this.#total };
  }
}
