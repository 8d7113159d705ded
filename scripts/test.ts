// npm test: runs every suite (or those whose path contains an argument) and ends with "N passed, N failed".
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repository } from './house/source-files.ts';
import { providePrograms } from './test/programs.ts';
import { readReport } from './test/report.ts';

const missing = await providePrograms();
const directory = mkdtempSync(join(tmpdir(), 'tailrace-test-'));
const reportFile = join(directory, 'report.json');
const vitest = spawn(
  process.execPath,
  [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile=${reportFile}`,
    ...process.argv.slice(2),
  ],
  { cwd: repository, stdio: 'inherit' },
);
const [code] = (await once(vitest, 'exit')) as [number | null];
const { passed, failed, skipped } = readReport(reportFile, code);
rmSync(directory, { recursive: true });

for (const program of missing) console.log(`MISSING: ${program.name}. ${program.consequence}`);
for (const suite of skipped) console.log(`DID NOT RUN: ${suite}`);
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
