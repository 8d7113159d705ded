const durationUnits: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];
const sizeUnits: readonly (readonly [string, number])[] = [
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
  ['TB', 1e12],
  ['GB', 1e9],
  ['MB', 1e6],
  ['KB', 1e3],
  ['B', 1],
];

/** "30s", "1.5h", "250ms", "250" or 250 → integer ms; undefined when it is none of these. */
export function parseDuration(value: unknown): number | undefined {
  return parse(value, durationUnits);
}

/** "64MiB" (1024-based), "64MB" (1000-based), "512B", "512" or 512 → bytes; undefined when it is none of these. */
export function parseSize(value: unknown): number | undefined {
  return parse(value, sizeUnits);
}

/** The shortest exact spelling: 90000 → "90s", 86400000 → "1d". */
export function formatDuration(ms: number): string {
  return format(ms, durationUnits);
}

/** The shortest exact spelling: 1048576 → "1MiB", 1000 → "1000B". */
export function formatSize(bytes: number): string {
  return format(bytes, sizeUnits.slice(0, 4).concat([['B', 1]]));
}

function parse(value: unknown, units: readonly (readonly [string, number])[]): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  if (typeof value !== 'string') return undefined;
  const match = /^(\d{1,16}(?:\.\d{1,6})?) ?([a-z]*)$/i.exec(value.trim());
  if (match === null) return undefined;
  const unit = match[2]!;
  const scale = unit === '' ? 1 : units.find(([name]) => name.toLowerCase() === unit.toLowerCase())?.[1];
  if (scale === undefined) return undefined;
  // "0.1s" is 100.00000000000001 before rounding
  const scaled = Number(match[1]) * scale;
  const rounded = Math.round(scaled);
  return Number.isSafeInteger(rounded) && Math.abs(scaled - rounded) < 1e-6 ? rounded : undefined;
}

function format(value: number, units: readonly (readonly [string, number])[]): string {
  const [name, scale] = value === 0 ? units.at(-1)! : units.find(([, scale]) => value % scale === 0)!;
  return `${value / scale}${name}`;
}
