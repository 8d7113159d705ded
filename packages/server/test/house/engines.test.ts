import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { repository } from '../../../../scripts/house/source-files.ts';

interface Manifest {
  readonly engines?: { readonly node: string };
  readonly workspaces?: readonly string[];
}

interface Lock {
  readonly packages: Readonly<Record<string, Manifest>>;
}

test('no package of the workspace asks for a newer Node than the root, since npm ci would warn of it', () => {
  const { engines: ofRoot, workspaces = [] } = read<Manifest>('package.json');
  const { packages: locked } = read<Lock>('package-lock.json');
  const manifests = globSync(
    workspaces.map(workspace => `${workspace}/package.json`),
    { cwd: repository },
  );
  expect(manifests).toContain('packages/protocol/package.json');
  expect(locked['']?.engines).toEqual(ofRoot);
  for (const path of manifests) {
    const { engines } = read<Manifest>(path);
    expect([undefined, ofRoot?.node], path).toContain(engines?.node);
    expect(locked[dirname(path)]?.engines, `${path} in package-lock.json`).toEqual(engines);
  }
});

function read<T>(path: string): T {
  return JSON.parse(readFileSync(join(repository, path), 'utf8')) as T;
}
