import { type FilterSet, TailraceError } from '@tailrace/protocol';
import type { HotTail } from '../hot-tail.ts';
import { type Dropped, laterDropped, nothingDropped, type Slice } from '../log.ts';
import type { LogRecord } from '../record.ts';
import { goingBack } from './going-back.ts';
import type { WovenMap } from './map.ts';
import { isAddress, isWoven, type Vector } from './numbering.ts';
import type { Spread } from './spread.ts';
import type { Strand } from './strands.ts';
import { placed } from './woven-batch.ts';

/** Offsets of the weave below its hot tail that one read looks at. */
const stretch = 16 * 1024;

export interface WovenReadsParts {
  readonly map: WovenMap;
  readonly spread: Spread;
  readonly hot: HotTail;
  readonly timeAt: (place: number) => number;
}

/** Reads of a woven log: one after another of its partitions on a strand, all at once where the weave orders them. */
export class WovenReads {
  readonly #parts: WovenReadsParts;

  constructor(parts: WovenReadsParts) {
    this.#parts = parts;
  }

  read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const { map } = this.#parts;
    if (isAddress(after)) return this.#readFromAddress(after, to, filters, maxBytes);
    if (isWoven(after) && map.knows(after)) return this.#readWeave(after, to, filters, maxBytes);
    const strand = map.strandAt(after);
    if (strand === undefined) return Promise.reject(placeForgotten());
    return this.#readStrand(strand, after, to, filters, maxBytes);
  }

  async #readFromAddress(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const { map } = this.#parts;
    const place = map.placeOf(map.vectorAt(after), 0);
    const slice = await this.read(place, to, filters, maxBytes);
    return slice.after === place ? { ...slice, after } : slice;
  }

  async #readStrand(strand: Strand, after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const { map, spread } = this.#parts;
    const { partitions } = map;
    const asked = new Set(spread.partitionsFor(filters));
    const end = Math.min(to, strand.end);
    const records: LogRecord[] = [];
    let dropped = nothingDropped;
    let begun = after;
    let bytes = 0;
    let time = 0;
    for (let place = after; place < end; ) {
      const { partition, offset } = strand.at(place)!;
      const last = Math.min(strand.to[partition]!, offset + end - place);
      if (!asked.has(partition)) {
        place += last - offset;
        continue;
      }
      const slice = within(last, await partitions[partition]!.read(offset, last, filters, maxBytes - bytes));
      if (slice.next === offset && slice.next < last) throw goingBack();
      const isFirst = place === begun;
      // a gap in a partition is told where that begins
      if (slice.after > offset && !isFirst) return { after: begun, records, next: place, time, dropped };
      if (slice.after > offset) begun = strand.placeOf(partition, slice.after);
      for (const record of slice.records) {
        records.push(placed(record, strand.placeOf(partition, record.offset)));
        bytes += record.weight;
      }
      dropped = laterDropped(dropped, this.#droppedAt(after, partition, slice.dropped));
      time = Math.max(time, slice.time);
      place = strand.placeOf(partition, slice.next);
      if (slice.next < last || bytes >= maxBytes)
        return { after: begun, records, next: this.#on(strand, place), time, dropped };
    }
    const next = this.#on(strand, end);
    return { after: begun, records, next, time: isWoven(next) ? this.#parts.timeAt(next) : time, dropped };
  }

  /** Its end is a place of the weave. */
  #on(strand: Strand, place: number): number {
    return place === strand.end && strand.next !== undefined ? strand.next : place;
  }

  async #readWeave(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Slice> {
    const { map, spread, hot, timeAt } = this.#parts;
    const { partitions, weave } = map;
    const end = Math.min(to, weave.head, after + stretch);
    if (after >= hot.base) {
      const records: LogRecord[] = [];
      const upTo = Math.max(after, Math.min(to, weave.head));
      const next = upTo > after ? hot.read(after, upTo, filters, maxBytes, records) : after;
      return { after, records, next, time: timeAt(next), dropped: await this.droppedAfter(after, filters) };
    }
    const [from, last] = [weave.vectorAt(after), weave.vectorAt(end)];
    const asked = spread.partitionsFor(filters).filter(p => last[p]! > from[p]!);
    const slices = await Promise.all(
      asked.map(async p => {
        const slice = within(last[p]!, await partitions[p]!.read(from[p]!, last[p]!, filters, maxBytes));
        if (slice.next === from[p] && slice.next < last[p]!) throw goingBack();
        return { p, slice };
      }),
    );
    // what the order leads to may have been forgotten meanwhile
    if (!map.knows(after)) throw placeForgotten();
    let next = end;
    let dropped = nothingDropped;
    let lacks = false;
    for (const { p, slice } of slices) {
      // what others have of this stretch stands between, before and behind what is gone
      if (slice.after > from[p]!) {
        lacks = true;
        dropped = laterDropped(dropped, { records: weave.placeOf(p, slice.after)!, deletions: 0 });
      }
      if (slice.next < last[p]!) next = Math.min(next, weave.placeOf(p, slice.next)!);
      dropped = laterDropped(dropped, this.#droppedAt(after, p, slice.dropped));
    }
    const found: LogRecord[] = [];
    for (const { p, slice } of slices)
      for (const record of slice.records) {
        const place = weave.placeOf(p, record.offset)!;
        if (place <= next) found.push(placed(record, place));
      }
    const records = cut(found.sort(byPlace), maxBytes);
    if (records.length < found.length) next = records[records.length - 1]!.offset;
    return { after, records, next, time: timeAt(next), dropped, lacks };
  }

  /** Answers at once where nothing was, or nothing has to be looked up. */
  droppedAfter(after: number, filters: FilterSet): Dropped | Promise<Dropped> {
    const { map, spread } = this.#parts;
    const { partitions } = map;
    if (partitions.every(({ deletions, capabilities }) => deletions.newest === 0 && !capabilities.keeps))
      return nothingDropped;
    const vector: Vector = map.vectorAt(after);
    const asked = spread.partitionsFor(filters);
    const told = asked.map(p => partitions[p]!.droppedAfter(vector[p]!, filters));
    const joined = (all: readonly Dropped[]): Dropped =>
      all.reduce((most, own, i) => laterDropped(most, this.#droppedAt(after, asked[i]!, own)), nothingDropped);
    return told.some(one => one instanceof Promise) ? Promise.all(told).then(joined) : joined(told as Dropped[]);
  }

  /** What was dropped of a partition, on the way of who stands at `place`. */
  #droppedAt(place: number, partition: number, { records, deletions }: Dropped): Dropped {
    if (records === 0 && deletions === 0) return nothingDropped;
    const on = (offset: number): number => (offset === 0 ? 0 : this.#parts.map.aheadOf(place, partition, offset));
    return { records: on(records), deletions: on(deletions) };
  }
}

/** Retention may have taken more than was asked for: what lies behind `last` is told to who comes there. */
function within(last: number, slice: Slice): Slice {
  return slice.next <= last ? slice : { ...slice, after: Math.min(slice.after, last), next: last };
}

function byPlace(one: LogRecord, other: LogRecord): number {
  return one.offset - other.offset;
}

/** The first of them, about `maxBytes`, at least one if there is any. */
function cut(records: LogRecord[], maxBytes: number): LogRecord[] {
  let bytes = 0;
  for (let i = 0; i < records.length; i++) {
    bytes += records[i]!.weight;
    if (bytes >= maxBytes) return records.slice(0, i + 1);
  }
  return records;
}

/** Whose place is not known any more comes back by its last cursor. */
export function placeForgotten(): TailraceError {
  return new TailraceError(
    'overloaded',
    'this reader is so far behind that the order in which its records came is not remembered any more; go on by the last cursor',
    { retryAfter: 100 },
  );
}
