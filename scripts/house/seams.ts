import { lineAt, type SourceFile } from './source-files.ts';

/** Rooms that a simulation drives: what is outside the program reaches them through seams only (design §5). */
const drivenRooms = /^packages\/server\/src\/(log|hub|gateway)\//;

type Outside = 'time' | 'randomness' | 'disk' | 'sockets' | 'the machine';

/** The files that are those seams, or stand behind one, and what each may reach. */
const seams: Readonly<Record<string, readonly Outside[]>> = {
  'log/clock.ts': ['time'],
  'log/random.ts': ['randomness'],
  'log/disk/files/node-disk.ts': ['disk'],
  // who owns a data directory is a matter between real processes: sockets and files of this machine
  'log/disk/files/ownership.ts': ['disk', 'sockets', 'randomness', 'the machine'],
  // the thread that keeps the log in order: the same files, and none but those
  'log/disk/housework/blocking-disk.ts': ['disk'],
  'log/disk/housework/thread.ts': ['sockets', 'the machine'],
  'log/disk/housework/work.ts': ['the machine'],
  'log/disk/housework/yield-to-others.ts': ['disk', 'the machine'],
  // every socket comes in here; the gateway is handed them
  'gateway/door.ts': ['sockets'],
};

/** What computes only, by module: these names, or all of it. Types may come from anywhere. */
const pure: Readonly<Record<string, readonly string[] | 'all'>> = {
  path: 'all',
  zlib: ['crc32'],
  buffer: ['isUtf8'],
  crypto: ['hash', 'createHash'],
  http: ['STATUS_CODES'],
  '@tailrace/protocol': 'all',
};

const modules: Readonly<Record<string, Outside>> = {
  crypto: 'randomness',
  dgram: 'sockets',
  dns: 'sockets',
  fs: 'disk',
  http: 'sockets',
  http2: 'sockets',
  https: 'sockets',
  net: 'sockets',
  perf_hooks: 'time',
  timers: 'time',
  tls: 'sockets',
};

/** Names that need no import. A method of that name (socket.setTimeout) is its object's own. */
const globals: readonly (readonly [Outside, RegExp])[] = [
  ['time', /\bnew\s+Date\b(?!\s*\(\s*[^\s)])/g],
  ['time', /(?<!\bnew\s+)\bDate\b(?!\s*\.\s*(?:UTC|parse)\b|:)/g],
  ['time', /(?<![.\w"'])(?:set(?:Timeout|Interval|Immediate)|performance|Temporal|scheduler|Atomics)\b/g],
  ['time', /\bhrtime\b|\bAbortSignal\s*\.\s*timeout\b/g],
  ['randomness', /\bMath\b(?!\s*\.\s*(?!random\b)\w)/g],
  ['randomness', /\brandom(?:Bytes|UUID|Int|FillSync)\b|\bgetRandomValues\b/g],
  ['sockets', /(?<![.\w])fetch\s*\(|\bnew\s+(?:WebSocket|EventSource|BroadcastChannel|Worker)\b/g],
  // by these any of the others could be had under another name
  ['the machine', /\bglobalThis\b|\bgetBuiltinModule\b|\bprocess\s*\[|\bprocess\.(?!nextTick\b|hrtime\b)\w+/g],
];

/** `import … from`, `export … from`, `import 'x'`, `import('x')` and `require('x')`. */
const importPattern =
  /\b(?:import|export)\s*(type\s+)?([\w$\s{},*]*?)\bfrom\s*(["'])([^"'\n]+)\3|\b(?:import|require)\s*\(?\s*(["'])([^"'\n]+)\5/g;

/** One sentence for each use of time, randomness, files or sockets beside the seams. */
export function seamFaults(files: readonly SourceFile[]): string[] {
  return files
    .filter(file => drivenRooms.test(file.path))
    .flatMap(({ path, code }) => {
      const granted = seams[path.slice('packages/server/src/'.length)] ?? [];
      const uses = [...importUses(code), ...globalUses(code)].filter(({ outside }) => !granted.includes(outside));
      return uses
        .sort((a, b) => a.index - b.index)
        .map(
          ({ outside, index, text }) =>
            `${path}:${lineAt(code, index)} uses ${text} (${outside}): take Clock, Random, Disk or Outlet from a seam instead`,
        );
    });
}

interface Use {
  readonly outside: Outside;
  readonly index: number;
  readonly text: string;
}

function importUses(code: string): Use[] {
  return [...code.matchAll(importPattern)].flatMap(match => {
    const [, typesOnly, clause = '*', , from, , bare] = match;
    const specifier = from ?? bare!;
    if (typesOnly !== undefined || specifier.startsWith('.')) return [];
    const name = specifier.replace(/^node:/, '');
    const allowed = pure[name] ?? [];
    if (allowed === 'all' || namesOf(clause).every(imported => allowed.includes(imported))) return [];
    return [{ outside: modules[name.split('/')[0]!] ?? 'the machine', index: match.index, text: `"${specifier}"` }];
  });
}

/** The values that an import clause takes by name; a whole module is `*` or the name of its default. */
function namesOf(clause: string): string[] {
  return clause
    .replaceAll(/[{}]/g, ',')
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '' && !item.startsWith('type '))
    .map(item => item.split(/\s/)[0]!);
}

function globalUses(code: string): Use[] {
  const body = code.replaceAll(importPattern, statement => statement.replaceAll(/[^\n]/g, ' '));
  return globals.flatMap(([outside, pattern]) =>
    [...body.matchAll(pattern)].map(({ index, 0: text }) => ({ outside, index, text: text.trim() })),
  );
}
