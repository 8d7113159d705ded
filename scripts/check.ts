// npm run check: types, lint and format, import directions and seams, generated docs. Runs all, then says what failed.
import { spawnSync } from 'node:child_process';
import { stalePages } from './docs.ts';
import { importFaults } from './house/imports.ts';
import { seamFaults } from './house/seams.ts';
import { repository, sourceFiles } from './house/source-files.ts';

const checks: Readonly<Record<string, () => boolean>> = {
  types: () => run('node_modules/typescript/bin/tsc', '--project', '.'),
  'types of tests and examples': () => run('node_modules/typescript/bin/tsc', '--project', 'tsconfig.test.json'),
  'lint and format': () => run('node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'),
  'import directions': () => none(importFaults(sourceFiles())),
  seams: () => none(seamFaults(sourceFiles())),
  'generated docs': () => none(stalePages().map(path => `${path} is not up to date: run npm run docs`)),
};

const failed = Object.entries(checks).flatMap(([name, passes]) => {
  const passed = passes();
  console.log(`${passed ? 'ok    ' : 'FAILED'} ${name}`);
  return passed ? [] : [name];
});
process.exitCode = failed.length === 0 ? 0 : 1;

/** Runs a JavaScript program of node_modules on this Node. */
function run(script: string, ...args: string[]): boolean {
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: repository, stdio: 'inherit' });
  return status === 0;
}

function none(faults: readonly string[]): boolean {
  for (const fault of faults) console.error(fault);
  return faults.length === 0;
}
