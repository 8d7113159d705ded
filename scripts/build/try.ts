import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { repository } from '../house/source-files.ts';

/** Installs the built packages as a user would, from their tarballs, and runs the command that they bring. */
export async function tryPackages(directories: readonly string[]): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'tailrace-try-'));
  try {
    const tarballs = directories.map(directory => {
      const from = join(repository, directory);
      const source = globSync('**/*.ts', { cwd: from }).filter(path => !path.endsWith('.d.ts'));
      if (source.length > 0) throw new Error(`${directory} ships TypeScript: ${source.join(', ')}`);
      const [packed] = JSON.parse(npm(['pack', '--json', '--pack-destination', home], from)) as [{ filename: string }];
      return join(home, packed.filename);
    });
    writeFileSync(join(home, 'package.json'), '{"private":true}');
    npm(['install', '--no-audit', '--no-fund', '--prefer-offline', ...tarballs], home);
    const version = npm(['exec', '--', 'tailrace', '--version'], home).trim();
    await tryServer(join(home, 'node_modules/.bin/tailrace'), home);
    console.log(`tried: tailrace ${version} runs and serves from its tarball`);
  } finally {
    rmSync(home, { recursive: true });
  }
}

/** Starts the installed server on any port, asks whether it is ready, and stops it in good order. */
async function tryServer(command: string, cwd: string): Promise<void> {
  const server = spawn(command, ['serve', '--port', '0'], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(server, 'exit');
  let url: string | undefined;
  for await (const line of createInterface(server.stdout)) {
    url = /http:\S+/.exec(line)?.[0];
    if (url !== undefined) break;
  }
  if (url === undefined) throw new Error('the installed server did not start');
  const { status } = await fetch(new URL('readyz', url));
  server.kill('SIGTERM');
  const [code] = (await ended) as [number | null];
  if (status !== 200 || code !== 0) throw new Error(`the installed server answered ${status} and ended with ${code}`);
}

function npm(args: readonly string[], cwd: string): string {
  // what this script inherited from `npm run` would make npm install into this repository
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
  return execFileSync('npm', args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}
