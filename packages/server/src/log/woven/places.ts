import { TailraceError } from '@tailrace/protocol';
import type { Log, Position } from '../log.ts';
import { endedBefore, lostBetween, type Places } from '../places.ts';
import type { LogRecord } from '../record.ts';
import type { WovenMap } from './map.ts';
import { addressOf, isAddress, isWoven, placeOfAddress } from './numbering.ts';
import { partitionOf } from './partition-of.ts';

export class WovenPlaces implements Places {
  readonly inOrder = false;
  readonly #map: WovenMap;
  readonly #positionOf: (place: number) => Promise<Position>;

  constructor(map: WovenMap, positionOf: (place: number) => Promise<Position>) {
    this.#map = map;
    this.#positionOf = positionOf;
  }

  lookupOf({ topic, partitionOffset }: LogRecord): number {
    return addressOf(partitionOf(topic, this.#map.partitions.length), partitionOffset);
  }

  beyond(offsets: Float64Array, place: number): Float64Array {
    const vector = this.#map.vectorAt(place);
    return offsets.filter(address => {
      const { partition, offset } = placeOfAddress(address);
      return offset > vector[partition]!;
    });
  }

  isTrimmed(place: number): boolean {
    return this.#someAt(place, (offset, { floor }) => offset < floor);
  }

  isAtFloor(place: number, since = 0): boolean {
    return this.#someAt(place, (offset, log) => log.floor > 0 && offset <= log.floor && !endedBefore(log, since));
  }

  lostBetween(after: number, to: number): number | undefined {
    const { partitions } = this.#map;
    if (partitions.every(({ lost }) => lost.length === 0)) return undefined;
    const [from, end] = [this.#map.vectorAt(after), this.#map.vectorAt(to)];
    const ends = partitions.flatMap(({ lost }, p) => {
      const last = lostBetween(lost, from[p]!, end[p]!);
      return last === undefined ? [] : [Math.min(to, this.#map.aheadOf(after, p, last))];
    });
    return ends.length === 0 ? undefined : Math.max(...ends);
  }

  behindTrimmed(place: number): Promise<Position> {
    const vector = this.#map.vectorAt(place);
    const floors = this.#map.floors();
    const behind = vector.map((offset, p) => Math.max(offset, floors[p]!));
    return this.#positionOf(this.#map.placeOf(behind, this.#map.timeBehind(place)));
  }

  async beginning(offset: number): Promise<Position> {
    const { partitions } = this.#map;
    if (offset > 0)
      throw new TailraceError(
        'bad_request',
        `from=@… names an offset, and this log has ${partitions.length} partitions with offsets of their own: begin by a cursor or a time`,
        { at: { field: 'from' } },
      );
    return this.#positionOf(this.#map.placeOf(new Float64Array(partitions.length), 0));
  }

  between(from: number, to: number): readonly [number, number] {
    if (to >= this.#map.weave.head) return [from, to];
    const begin = this.#map.vectorAt(from);
    const end = this.#map.vectorAt(to).map((offset, p) => Math.max(offset, begin[p]!));
    const strand = this.#map.strands.between(begin, end, this.#map.timeBehind(from), undefined);
    return [strand.first, strand.end];
  }

  stepBack(from: number, end: number, count: number): number {
    const strand = this.#map.strandAt(from);
    if (strand === undefined) return Math.max(from, end - count);
    const next = strand.next ?? strand.end;
    // what lies before the place to which the strand leads is on the strand
    return end > next ? Math.max(next, end - count) : Math.max(from, Math.min(end, strand.end) - count);
  }

  hasPassed(place: number, topic: string, offset: number): boolean {
    return this.#map.vectorAt(place)[partitionOf(topic, this.#map.partitions.length)]! >= offset;
  }

  /** Whether it holds of one partition and the offset there; of an address only its own counts. */
  #someAt(place: number, holds: (offset: number, log: Log) => boolean): boolean {
    const { partitions } = this.#map;
    if (isAddress(place)) {
      const { partition, offset } = placeOfAddress(place);
      const log = partitions[partition];
      return log !== undefined && holds(offset, log);
    }
    // nearly always nothing is as young as what the weave remembers
    if (isWoven(place) && !partitions.some(({ floor }) => floor > 0)) return false;
    const vector = this.#map.vectorAt(place);
    return partitions.some((log, p) => holds(vector[p]!, log));
  }
}
