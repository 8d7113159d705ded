import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { repository } from '../house/source-files.ts';

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

export interface Totals {
  readonly passed: number;
  readonly failed: number;
  /** Tests that were skipped, by file and name. */
  readonly skipped: readonly string[];
}

/**
 * Sums up vitest's JSON report. A file that broke before its tests counts as one failure, and so does a run that ended
 * with an error code although every test passed (an error outside tests, a crash): it must not look like a success.
 */
export function readReport(path: string, exitCode: number | null): Totals {
  let report: Report;
  try {
    report = JSON.parse(readFileSync(path, 'utf8')) as Report;
  } catch {
    return { passed: 0, failed: 1, skipped: [] };
  }
  let passed = 0;
  let failed = 0;
  const skipped: string[] = [];
  for (const file of report.testResults) {
    const failures = file.assertionResults.filter(test => test.status === 'failed').length;
    failed += failures === 0 && file.status === 'failed' ? 1 : failures;
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed++;
      else if (test.status !== 'failed') skipped.push(`${relative(repository, file.name)}: ${test.fullName}`);
    }
  }
  if (failed === 0 && exitCode !== 0) failed = 1;
  return { passed, failed, skipped };
}
