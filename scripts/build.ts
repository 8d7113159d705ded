// npm run build: makes build/<package>/ for every package that can be published, and checks each as npm would see it.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { buildPackage } from './build/package.ts';
import { repository } from './house/source-files.ts';

/** In the order in which they need each other's types. */
const packages = ['protocol', 'server'];

rmSync(`${repository}build`, { recursive: true, force: true });
for (const name of packages) {
  const directory = buildPackage(name);
  run('node_modules/publint/src/cli.js', directory, '--strict');
  run('node_modules/@arethetypeswrong/cli/dist/index.js', '--pack', directory, '--profile', 'esm-only');
  console.log(`built ${directory}`);
}

function run(script: string, ...args: string[]): void {
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: repository, stdio: 'inherit' });
  if (status !== 0) {
    console.error(`build: ${script} ${args.join(' ')} failed`);
    process.exit(1);
  }
}
