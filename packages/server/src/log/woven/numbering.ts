/**
 * The offsets of a woven log, by what they count:
 *
 *   0 ── addresses ── 2^50 ── strands ── 2^51 ── the weave ──▶
 *
 * An address is a record by its partition and its offset there, for what is looked up record by record. The weave is what
 * this node has received since its start, in the order in which it came. Strands lead to it from elsewhere.
 */
export const strandsFrom: number = 2 ** 50;
export const weaveFrom: number = 2 ** 51;

/** Offsets of one partition: a million a second for twelve days, or a thousand for 34 years. */
const perPartition = 2 ** 40;

export const partitionsMax: number = strandsFrom / perPartition;

export interface PartitionPlace {
  readonly partition: number;
  readonly offset: number;
}

export function addressOf(partition: number, offset: number): number {
  return partition * perPartition + offset;
}

export function isAddress(place: number): boolean {
  return place < strandsFrom;
}

export function isWoven(place: number): boolean {
  return place >= weaveFrom;
}

export function placeOfAddress(address: number): PartitionPlace {
  const partition = Math.floor(address / perPartition);
  return { partition, offset: address - partition * perPartition };
}

/** One offset for each partition: up to where it has been read. */
export type Vector = Float64Array;

export function sameVector(one: Vector, other: Vector): boolean {
  for (let p = 0; p < one.length; p++) if (one[p] !== other[p]) return false;
  return true;
}
