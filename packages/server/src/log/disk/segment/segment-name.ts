/**
 * `<first offset>.<generation>.log`, padded so that names sort as offsets do; 16 digits hold every safe integer. A
 * rewritten segment keeps its first offset and takes the next generation.
 */
export function segmentName(firstOffset: number, generation: number): string {
  return `${String(firstOffset).padStart(16, '0')}.${String(generation).padStart(4, '0')}.log`;
}

/** The file with the index of a sealed segment. */
export function indexName(segment: string): string {
  return segment.replace(/\.log$/, '.idx');
}

export interface SegmentName {
  readonly name: string;
  readonly firstOffset: number;
  readonly generation: number;
}

/** The segments among the names in a data directory, in order, of each the newest generation. */
export function newestSegments(files: readonly string[]): SegmentName[] {
  return segmentGenerations(files).map(([newest]) => newest);
}

/** The same with all generations that are there of each segment, the newest first. */
export function segmentGenerations(files: readonly string[]): [SegmentName, ...SegmentName[]][] {
  const names = files.map(parseSegmentName).filter(name => name !== undefined);
  names.sort((a, b) => a.firstOffset - b.firstOffset || b.generation - a.generation);
  const segments: [SegmentName, ...SegmentName[]][] = [];
  for (const name of names) {
    const segment = segments.at(-1);
    if (segment?.[0].firstOffset === name.firstOffset) segment.push(name);
    else segments.push([name]);
  }
  return segments;
}

export function parseSegmentName(name: string): SegmentName | undefined {
  const match = /^([0-9]{16})\.([0-9]{4,})\.log$/.exec(name);
  if (match === null) return undefined;
  const firstOffset = Number(match[1]);
  return Number.isSafeInteger(firstOffset) && firstOffset > 0
    ? { name, firstOffset, generation: Number(match[2]) }
    : undefined;
}

/** The file with what de-duplication remembers at the end of a segment. */
export function checkpointName(segment: string): string {
  return segment.replace(/\.log$/, '.dedupe');
}

/** The segment that a checkpoint belongs to; undefined for any other file. */
export function parseCheckpointName(name: string): SegmentName | undefined {
  return name.endsWith('.dedupe') ? parseSegmentName(name.replace(/\.dedupe$/, '.log')) : undefined;
}
