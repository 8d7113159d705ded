import { posix } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sourceFiles } from '../../../../scripts/house/source-files.ts';

const code = new Map(sourceFiles().map(file => [file.path, file.code]));
const home = 'packages/server/src/';

/** Everything that importing a file loads at once: its static imports and theirs, types left out. */
function loads(path: string, seen: Set<string> = new Set()): Set<string> {
  if (seen.has(path)) return seen;
  seen.add(path);
  for (const [, specifier] of (code.get(path) ?? '').matchAll(/^(?:import|export) (?!type )[^;]*?from '([^']+)';/gm))
    loads(specifier!.startsWith('.') ? posix.join(posix.dirname(path), specifier!) : specifier!, seen);
  return seen;
}

describe('start-up', () => {
  test('the walk sees what is loaded', () => {
    const loaded = loads(`${home}cli/serve.ts`);
    expect(loaded).toContain(`${home}config/schema.ts`);
    expect(loaded).toContain('zod');
  });

  // a client command must not pay for the settings, let alone the server
  test.each(['main', 'pub', 'sub', 'replay'])('%s loads neither settings nor server', name => {
    const loaded = [...loads(`${home}cli/${name}.ts`)];
    expect(loaded.filter(path => path.startsWith(home) && !path.startsWith(`${home}cli/`))).toEqual([
      ...(name === 'main' ? [`${home}log/without-password.ts`, `${home}version.ts`] : []),
    ]);
    expect(loaded.filter(path => !path.startsWith('packages/') && !path.startsWith('node:'))).toEqual([
      '@tailrace/protocol',
    ]);
  });

  test('serve loads the server only after its settings were found good', () => {
    const loaded = [...loads(`${home}cli/serve.ts`)];
    expect(loaded).not.toContain(`${home}server.ts`);
    expect(loaded).not.toContain('fastify');
  });
});
