import type { Segment } from './segment.ts';

/** The segments of a log in order of offset. Between two of them offsets may be missing, after accepted loss. */
export class SegmentList {
  /** Counts removals and replacements: a read during which it changed may have met files that are gone. */
  version = 0;
  /** Highest offset of a record that rules have dropped. */
  newestDropped = 0;
  #segments: Segment[] = [];

  get all(): readonly Segment[] {
    return this.#segments;
  }

  get bytes(): number {
    let bytes = 0;
    for (const segment of this.#segments) bytes += segment.end;
    return bytes;
  }

  push(segment: Segment): void {
    this.#segments.push(segment);
    this.#noteDropped(segment);
  }

  /** Puts a new generation in the place of a segment. */
  replace(segment: Segment, rewritten: Segment): void {
    this.version++;
    this.#segments = this.#segments.map(other => (other === segment ? rewritten : other));
    this.#noteDropped(rewritten);
  }

  remove(segment: Segment): void {
    this.version++;
    this.#segments = this.#segments.filter(other => other !== segment);
  }

  /** The first segment with a record at or above `offset`. */
  holding(offset: number): Segment | undefined {
    return this.#segments[this.#firstWhere(segment => segment.lastOffset >= offset)];
  }

  /** The last segment with a record at or below `offset`. */
  atOrBelow(offset: number): Segment | undefined {
    for (let i = this.#firstWhere(segment => segment.firstOffset > offset) - 1; i >= 0; i--)
      if (this.#segments[i]!.records > 0) return this.#segments[i];
    return undefined;
  }

  /** The segments from the first on in which a record with time ≥ `time` can be. */
  since(time: number): readonly Segment[] {
    return this.#segments.slice(this.#firstWhere(segment => segment.lastTime >= time));
  }

  /** Those between two offsets, the first exclusive, from which rules have dropped something beyond `after`. */
  rewritten(after: number, to: number): readonly Segment[] {
    const found: Segment[] = [];
    for (let i = this.#firstWhere(segment => segment.lastOffset > after); i < this.#segments.length; i++) {
      const segment = this.#segments[i]!;
      if (segment.firstOffset > to) break;
      if ((segment.header.rewritten?.newestDropped ?? 0) > after) found.push(segment);
    }
    return found;
  }

  #noteDropped({ header }: Segment): void {
    this.newestDropped = Math.max(this.newestDropped, header.rewritten?.newestDropped ?? 0);
  }

  /** Index of the first segment for which `holds`; all after it must hold too. */
  #firstWhere(holds: (segment: Segment) => boolean): number {
    let low = 0;
    let high = this.#segments.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (holds(this.#segments[mid]!)) high = mid;
      else low = mid + 1;
    }
    return low;
  }
}
