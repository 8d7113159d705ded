// npm run build: makes build/<package>/ for every package that can be published, and checks each as npm would see it.
// With --try (npm run build -- --try) they are also installed into an empty directory and run there.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { buildPackage } from './build/package.ts';
import { tryPackages } from './build/try.ts';
import { repository } from './house/source-files.ts';

/** In the order in which they need each other's types. */
const packages = ['protocol', 'client', 'server'];

rmSync(`${repository}build`, { recursive: true, force: true });
const built = packages.map(name => {
  const directory = buildPackage(name);
  run('node_modules/publint/src/cli.js', directory, '--strict');
  run('node_modules/@arethetypeswrong/cli/dist/index.js', '--pack', directory, '--profile', 'esm-only');
  console.log(`built ${directory}`);
  return directory;
});
if (process.argv.includes('--try')) await tryPackages(built);

function run(script: string, ...args: string[]): void {
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: repository, stdio: 'inherit' });
  if (status !== 0) {
    console.error(`build: ${script} ${args.join(' ')} failed`);
    process.exit(1);
  }
}
