import { type PartitionPlace, strandsFrom, type Vector, weaveFrom } from './numbering.ts';

/** Who is on one that is forgotten begins anew by its cursor. */
const strandsMax = 8192;

/**
 * The way from one vector to another, partition by partition: how a reader comes to the weave that begins elsewhere, with a
 * cursor of another node or in what is older.
 *
 *   first ── partition 0 ──┬── partition 1 ──┬── … ──▶ end, which is the same point as `next` of the weave
 */
export class Strand {
  readonly first: number;
  readonly from: Vector;
  readonly to: Vector;
  /** About the least that records can have which follow `from`, ms: it is read one partition after another. */
  readonly time: number;
  /** The place of the weave where it leads to; undefined when it ends there. */
  readonly next: number | undefined;
  /** Of each partition the place where it begins; then the end. */
  readonly #begins: Float64Array;

  constructor(first: number, from: Vector, to: Vector, time: number, next: number | undefined) {
    this.first = first;
    this.from = from;
    this.to = to;
    this.time = time;
    this.next = next;
    this.#begins = new Float64Array(from.length + 1);
    this.#begins[0] = first;
    for (let p = 0; p < from.length; p++) this.#begins[p + 1] = this.#begins[p]! + to[p]! - from[p]!;
  }

  get end(): number {
    return this.#begins[this.from.length]!;
  }

  /** The point that `place` is: at the end of a partition it is the beginning of the next that has something. */
  at(place: number): PartitionPlace | undefined {
    for (let partition = 0; partition < this.from.length; partition++)
      if (place < this.#begins[partition + 1]!)
        return { partition, offset: this.from[partition]! + place - this.#begins[partition]! };
    return undefined;
  }

  placeOf(partition: number, offset: number): number {
    return this.#begins[partition]! + offset - this.from[partition]!;
  }

  vectorAt(place: number): Vector {
    const vector = Float64Array.from(this.from);
    for (let p = 0; p < vector.length; p++) {
      if (place < this.#begins[p + 1]!) {
        vector[p] = this.from[p]! + place - this.#begins[p]!;
        break;
      }
      vector[p] = this.to[p]!;
    }
    return vector;
  }
}

export class Strands {
  #next = strandsFrom;
  /** By where they begin, which ascends. */
  #all: Strand[] = [];
  readonly #byOrigin = new Map<string, Strand>();
  readonly #onReuse: () => void;

  /** `onReuse`: all places are used up, and given out again from the first. */
  constructor(onReuse: () => void) {
    this.#onReuse = onReuse;
  }

  /** One from `from` to the weave, which those share who begin at the same point. `first`: of the weave, what is known. */
  toWeave(
    from: Vector,
    first: number,
    time: number,
    end: () => { readonly to: Vector; readonly next: number },
  ): Strand {
    const origin = from.join();
    const known = this.#byOrigin.get(origin);
    if (known?.next !== undefined && known.next >= first) return known;
    const { to, next } = end();
    const strand = this.between(from, to, time, next);
    this.#byOrigin.set(origin, strand);
    return strand;
  }

  between(from: Vector, to: Vector, time: number, next: number | undefined): Strand {
    let length = 1;
    for (let p = 0; p < from.length; p++) length += to[p]! - from[p]!;
    if (this.#next + length >= weaveFrom) {
      this.clear();
      this.#onReuse();
    }
    const strand = new Strand(this.#next, from, to, time, next);
    this.#next += length;
    this.#all.push(strand);
    if (this.#all.length > strandsMax) this.#forget();
    return strand;
  }

  /** The one that holds `place`; undefined when it is forgotten. */
  holding(place: number): Strand | undefined {
    let low = 0;
    let high = this.#all.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.#all[mid]!.first <= place) low = mid + 1;
      else high = mid;
    }
    const strand = this.#all[low - 1];
    return strand !== undefined && place <= strand.end ? strand : undefined;
  }

  clear(): void {
    this.#all = [];
    this.#byOrigin.clear();
    if (this.#next > (strandsFrom + weaveFrom) / 2) this.#next = strandsFrom;
  }

  #forget(): void {
    const gone = new Set(this.#all.splice(0, strandsMax / 4));
    for (const [origin, strand] of this.#byOrigin) if (gone.has(strand)) this.#byOrigin.delete(origin);
  }
}
