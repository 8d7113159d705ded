import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/**
 * A package of the `package.json` in `directory`, all of which are installed when one is first asked for. Those with
 * binaries bring them along, so no script of theirs is run.
 */
export function requirePeer(directory: URL, name: string): unknown {
  const path = fileURLToPath(directory);
  if (!existsSync(`${path}node_modules/${name}`))
    execFileSync('npm', ['install', '--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund'], {
      cwd: path,
      stdio: 'ignore',
    });
  return createRequire(`${path}package.json`)(name);
}
