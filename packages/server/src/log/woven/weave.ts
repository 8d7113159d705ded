import type { Vector } from './numbering.ts';

/** Runs remembered of all partitions together; each takes two numbers. */
export const runsMax: number = 1024 * 1024;
/** Vectors remembered of what is forgotten. */
const passedMax = 256;

/**
 * In which order the records of several partitions came to this node: which place each has, and how far each partition had
 * been read at a place. A batch of one partition is a run:
 *
 *   places      ──┬────────┬─────────────┬────┬──────────▶
 *   partition 0   │ 5…9    │             │10…12
 *   partition 1   │        │ 71…80       │
 */
export class Weave {
  /** Places below are not known exactly any more. */
  first: number;
  head: number;
  readonly #runs: Runs[];
  #count = 0;
  #pushes = 0;
  #marks: { readonly place: number; readonly time: number }[];
  #passed: { readonly place: number; readonly vector: Vector }[] = [];
  readonly #runsMax: number;
  /** So many pushes lie between two places at which the memory of the oldest may end. */
  readonly #markEvery: number;

  /** At the place `first` the partitions stand at `vector`, and the newest record has the time `time`. */
  constructor(first: number, vector: Vector, time: number, most: number = runsMax) {
    this.first = first;
    this.head = first;
    this.#runs = Array.from(vector, offset => new Runs(offset));
    this.#marks = [{ place: first, time }];
    this.#passed.push({ place: first, vector });
    this.#runsMax = most;
    this.#markEvery = Math.ceil(most / 256);
  }

  /** What of `partition` follows up to its offset `last` is next, of `time` (ms) at the least. Returns what to add to its offsets for their places. Hot. */
  push(partition: number, last: number, time: number): number {
    const runs = this.#runs[partition]!;
    const shift = this.head - runs.last;
    this.head += last - runs.last;
    if (runs.push(shift, last)) this.#count++;
    if (++this.#pushes % this.#markEvery === 0) {
      this.#marks.push({ place: this.head, time });
      if (this.#count > this.#runsMax) this.#forget();
    }
    return shift;
  }

  /** Up to where `partition` had been read at `place`, which must be known. */
  offsetAt(partition: number, place: number): number {
    return this.#runs[partition]!.offsetAt(place);
  }

  /** The newest offset that has come of `partition`. */
  newestOf(partition: number): number {
    return this.#runs[partition]!.last;
  }

  /** The first known place at which `partition` had been read up to `offset`; undefined when it has not come so far. */
  placeOf(partition: number, offset: number): number | undefined {
    const runs = this.#runs[partition]!;
    if (offset > runs.last) return undefined;
    return Math.max(this.first, runs.placeOf(offset) ?? this.first);
  }

  /** The partition whose record, if there is one, has this place, and its offset there. */
  at(place: number): { readonly partition: number; readonly offset: number } | undefined {
    for (let partition = 0; partition < this.#runs.length; partition++) {
      const offset = this.#runs[partition]!.recordAt(place);
      if (offset !== undefined) return { partition, offset };
    }
    return undefined;
  }

  /** How far all had been read at `place`; of one that is not known any more, at a known place before it. */
  vectorAt(place: number): Vector {
    if (place >= this.first) return Float64Array.from(this.#runs, runs => runs.offsetAt(place));
    return (this.#passed.findLast(passed => passed.place <= place) ?? this.#passed[0]!).vector;
  }

  /** Time of a record before `place`, ms, and not long before. */
  timeAt(place: number): number {
    return (this.#marks.findLast(mark => mark.place <= place) ?? this.#marks[0]!).time;
  }

  #forget(): void {
    const half = this.#marks[this.#marks.length >> 1]!.place;
    const vector = this.vectorAt(half);
    this.first = half;
    this.#marks = this.#marks.filter(mark => mark.place >= half);
    this.#passed.push({ place: half, vector });
    if (this.#passed.length > passedMax) this.#passed = this.#passed.filter((_, i) => i % 2 === 0);
    this.#count = 0;
    for (const runs of this.#runs) {
      runs.forget(half);
      this.#count += runs.count;
    }
  }
}

/** Those of one partition, oldest first: columns, since there are many. */
class Runs {
  /** The newest offset. */
  last: number;
  /** Where the oldest begins. */
  #from: number;
  /** Of each run: what to add to an offset for its place, and its last offset. */
  #shifts: number[] = [];
  #lasts: number[] = [];

  constructor(from: number) {
    this.#from = from;
    this.last = from;
  }

  get count(): number {
    return this.#lasts.length;
  }

  /** Whether it is a run of its own; otherwise it goes on with the one before. Hot. */
  push(shift: number, last: number): boolean {
    this.last = last;
    const newest = this.#lasts.length - 1;
    if (newest >= 0 && this.#shifts[newest] === shift) {
      this.#lasts[newest] = last;
      return false;
    }
    this.#shifts.push(shift);
    this.#lasts.push(last);
    return true;
  }

  offsetAt(place: number): number {
    // the last run that begins before `place`
    const run = this.#lastWhere(i => this.#before(i) + this.#shifts[i]! < place);
    if (run === -1) return this.#from;
    return Math.min(this.#lasts[run]!, place - this.#shifts[run]!);
  }

  /** Undefined for what lies before the oldest run. */
  placeOf(offset: number): number | undefined {
    if (offset <= this.#from) return undefined;
    const run = this.#lastWhere(i => this.#before(i) < offset);
    return offset + this.#shifts[run]!;
  }

  recordAt(place: number): number | undefined {
    const run = this.#lastWhere(i => this.#before(i) + this.#shifts[i]! < place);
    if (run === -1) return undefined;
    const offset = place - this.#shifts[run]!;
    return offset <= this.#lasts[run]! ? offset : undefined;
  }

  forget(place: number): void {
    const from = this.offsetAt(place);
    const kept = this.#lastWhere(i => this.#lasts[i]! <= from) + 1;
    this.#shifts = this.#shifts.slice(kept);
    this.#lasts = this.#lasts.slice(kept);
    this.#from = from;
  }

  /** The offset behind which a run begins. */
  #before(run: number): number {
    return run === 0 ? this.#from : this.#lasts[run - 1]!;
  }

  #lastWhere(holds: (run: number) => boolean): number {
    // nearly all ask for the newest
    const newest = this.#lasts.length - 1;
    if (newest < 0 || holds(newest)) return newest;
    let low = 0;
    let high = newest;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (holds(mid)) low = mid + 1;
      else high = mid;
    }
    return low - 1;
  }
}
