import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const directory = fileURLToPath(new URL('../peers/', import.meta.url));

/** A package of `peers/`. Both come with binaries, so no script of theirs is run. */
export function requirePeer(name: string): unknown {
  if (!existsSync(`${directory}node_modules/${name}`))
    execFileSync('npm', ['install', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund'], {
      cwd: directory,
      stdio: 'ignore',
    });
  return createRequire(`${directory}package.json`)(name);
}
