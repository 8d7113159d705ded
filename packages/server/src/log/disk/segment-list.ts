import type { Segment } from './segment.ts';

/** The segments of a log in order of offset. Between two of them offsets may be missing, after accepted loss. */
export class SegmentList {
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
  }

  remove(segment: Segment): void {
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

  /** The first segment with a record whose time is ≥ `time`. */
  since(time: number): Segment | undefined {
    const at = this.#firstWhere(segment => segment.lastTime >= time);
    // an empty active segment has no time yet
    return this.#segments[at]?.records === 0 ? undefined : this.#segments[at];
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
