import type { Log } from '../log.ts';
import {
  addressOf,
  isAddress,
  isWoven,
  type PartitionPlace,
  placeOfAddress,
  sameVector,
  type Vector,
} from './numbering.ts';
import { type Strand, Strands } from './strands.ts';
import { Weave } from './weave.ts';

/** What places of a woven log are in its partitions, and back. */
export class WovenMap {
  readonly partitions: readonly Log[];
  weave: Weave;
  readonly strands: Strands;
  readonly #runsMax: number | undefined;

  /** `onReuse`: see Strands; `runsMax`: what the weave remembers. */
  constructor(partitions: readonly Log[], first: number, onReuse: () => void, runsMax?: number) {
    this.partitions = partitions;
    this.strands = new Strands(onReuse);
    this.#runsMax = runsMax;
    this.weave = this.#newWeave(first);
  }

  /** What is woven from now begins at `first`; places before it mean nothing any more. */
  beginAnew(first: number): void {
    this.weave = this.#newWeave(first);
    this.strands.clear();
  }

  #newWeave(first: number): Weave {
    const heads = this.partitions.map(({ head }) => head);
    const time = Math.max(...heads.map(head => head.time));
    return new Weave(
      first,
      Float64Array.from(heads, ({ offset }) => offset),
      time,
      this.#runsMax,
    );
  }

  floors(): Vector {
    return Float64Array.from(this.partitions, ({ floor }) => floor);
  }

  /** The strand that holds `place`; undefined when it is on none that is known. */
  strandAt(place: number): Strand | undefined {
    return isWoven(place) || isAddress(place) ? undefined : this.strands.holding(place);
  }

  /** Whether it is known what follows `place`. */
  knows(place: number): boolean {
    return isWoven(place) ? place >= this.weave.first : isAddress(place) || this.strandAt(place) !== undefined;
  }

  /** How far each partition has been read by who stands at `place`. Who walks over addresses has not begun with what follows. */
  vectorAt(place: number): Vector {
    if (isWoven(place)) return this.weave.vectorAt(place);
    const strand = this.strandAt(place);
    if (strand !== undefined) return strand.vectorAt(place);
    const vector = new Float64Array(this.partitions.length);
    if (isAddress(place)) {
      const { partition, offset } = placeOfAddress(place);
      vector[partition] = offset;
    }
    return vector;
  }

  /** About the least time that what follows `place` can have, ms; 0 of an address. */
  timeBehind(place: number): number {
    return isWoven(place) ? this.weave.timeAt(place) : (this.strandAt(place)?.time ?? 0);
  }

  /** The record that has this place, if one has. */
  recordAt(place: number): PartitionPlace | undefined {
    if (isAddress(place)) return placeOfAddress(place);
    if (isWoven(place)) return this.weave.at(place);
    const before = this.strandAt(place)?.at(place - 1);
    return before && { partition: before.partition, offset: before.offset + 1 };
  }

  /** Where one goes on who has read each partition up to `wanted`, as far as that has come to this node; `time`: see Strand. */
  placeOf(wanted: Vector, time: number): number {
    const { weave } = this;
    // a partition may know of more than its records: what is behind the newest of them is none
    const vector = wanted.map((offset, p) => Math.min(offset, weave.newestOf(p)));
    let next = weave.first;
    for (let p = 0; p < vector.length; p++) next = Math.max(next, weave.placeOf(p, vector[p]!)!);
    const there = weave.vectorAt(next);
    if (sameVector(there, vector)) return next;
    return this.strands.toWeave(vector, weave.first, time, () => ({ to: there, next })).first;
  }

  /** Where on the way of who stands at `place` the record of a partition lies. */
  aheadOf(place: number, partition: number, offset: number): number {
    if (isAddress(place)) return addressOf(partition, offset);
    const strand = this.strandAt(place);
    if (strand !== undefined && offset <= strand.to[partition]!) return strand.placeOf(partition, offset);
    return this.weave.placeOf(partition, offset) ?? this.weave.head;
  }
}
