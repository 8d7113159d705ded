import { lineAt, type SourceFile } from './source-files.ts';

/** Rooms that a simulation drives: time, randomness and disk reach them through seams only (design §5). */
const drivenRooms = /^packages\/server\/src\/(log|hub|gateway)\//;

/** The files that are those seams, or stand behind one. */
const seams = [
  'log/clock.ts',
  'log/random.ts',
  'log/disk/node-disk.ts',
  // who owns a data directory is a matter between real processes: sockets and files of this machine
  'log/disk/ownership.ts',
].map(file => `packages/server/src/${file}`);

const outside =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bMath\.random\b|\brandom(?:Bytes|UUID|Int)\b|\bset(?:Timeout|Interval|Immediate)\b|\bperformance\.now\b|\bhrtime\b|["'](?:node:)?(?:fs|fs\/promises|timers|timers\/promises)["']/g;

/** One sentence for each use of time, randomness or files beside the seams. */
export function seamFaults(files: readonly SourceFile[]): string[] {
  return files
    .filter(file => drivenRooms.test(file.path) && !seams.includes(file.path))
    .flatMap(file =>
      [...file.code.matchAll(outside)]
        // socket.setTimeout(0) is the socket's own, not the clock's
        .filter(match => file.code[match.index - 1] !== '.')
        .map(
          match =>
            `${file.path}:${lineAt(file.code, match.index)} uses ${match[0]}: take Clock, Random or Disk from a seam instead`,
        ),
    );
}
