import { posix } from 'node:path';
import { lineAt, type SourceFile } from './source-files.ts';

/**
 * Rooms of packages/server/src from the top of the house down (design §5): a room imports from those below it.
 * `server` stands for the files beside the rooms: server.ts, which puts them together, and index.ts.
 *
 * Two places where the order says more than the list in the design: `engines` stands above `log`, since engines
 * implement the `Log` interface; and settings have one reader, see `onlyFor`.
 */
export const rooms = [
  'cli',
  'server',
  'config',
  'gateway',
  'api',
  'admission',
  'hub',
  'cluster',
  'engines',
  'log',
  'observe',
] as const;

/** Rooms that only some may import: the others get plain option values, and name no engine. */
const onlyFor: Readonly<Record<string, readonly string[]>> = {
  config: ['cli', 'server'],
  engines: ['server'],
};

/** What a package may import beside its own files; absent: anything its package.json names. */
const packageImports: Readonly<Record<string, RegExp>> = {
  // no I/O: neither node: nor another package
  protocol: /^$/,
  client: /^(@tailrace\/protocol|react(\/.*)?)$/,
};

const importPattern = /(?:\bfrom\s*|\bimport\s*\(?\s*)(["'])([^"'\n]+)\1/g;
/** What is put together at run time could be any file. */
const computedImport = /\bimport\s*\(\s*(?!(["'])[^"'\n]+\1\s*[,)])[^\n]*/g;

/** One sentence for each import that runs upwards or out of its house. */
export function importFaults(files: readonly SourceFile[]): string[] {
  return files.flatMap(file => [
    ...[...file.code.matchAll(importPattern)].flatMap(match => {
      const fault = judge(file.path, match[2]!);
      return fault === undefined
        ? []
        : [`${file.path}:${lineAt(file.code, match.index)} imports "${match[2]}": ${fault}`];
    }),
    ...[...file.code.matchAll(computedImport)].map(
      ({ index, 0: text }) =>
        `${file.path}:${lineAt(file.code, index)} has ${text.trim()}: import() takes a quoted name, so that its direction can be read`,
    ),
  ]);
}

function judge(path: string, specifier: string): string | undefined {
  const [, name = ''] = path.split('/');
  const home = `packages/${name}/src/`;
  if (!specifier.startsWith('.')) {
    if (packageImports[name]?.test(specifier) === false) return `${name} may not import other packages`;
    return undefined;
  }
  const target = posix.join(posix.dirname(path), specifier);
  if (!target.startsWith(home) && !target.startsWith(`packages/${name}/package.json`))
    return 'another package is imported by its name';
  if (name !== 'server') return undefined;
  const from = roomOf(path.slice(home.length));
  const to = roomOf(target.slice(home.length));
  if (from === to) return undefined;
  if (!isRoom(from) || !isRoom(to)) return `the house has no room "${isRoom(from) ? to : from}"`;
  if (rooms.indexOf(to) < rooms.indexOf(from)) return `${from} stands below ${to} and may not know it`;
  if (onlyFor[to]?.includes(from) === false) return `only ${onlyFor[to].join(' and ')} may import ${to}`;
  return undefined;
}

function roomOf(path: string): string {
  const slash = path.indexOf('/');
  return slash === -1 ? 'server' : path.slice(0, slash);
}

function isRoom(name: string): name is (typeof rooms)[number] {
  return (rooms as readonly string[]).includes(name);
}
