import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readReport, type Totals } from '../../../../scripts/test/report.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tailrace-report-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function totals(testResults: readonly object[], exitCode: number | null): Totals {
  const path = join(directory, 'report.json');
  writeFileSync(path, JSON.stringify({ testResults }));
  return readReport(path, exitCode);
}
const file = (status: string, ...statuses: string[]): object => ({
  name: '/x/a.test.ts',
  status,
  assertionResults: statuses.map(status => ({ status, fullName: 'a test' })),
});

test('passed and failed tests are counted, skipped ones are named', () => {
  expect(totals([file('passed', 'passed', 'passed'), file('failed', 'passed', 'failed', 'skipped')], 1)).toEqual({
    passed: 3,
    failed: 1,
    skipped: [expect.stringContaining('a.test.ts: a test')],
  });
});

test('a file that broke before its tests is a failure', () => {
  expect(totals([file('passed', 'passed'), file('failed')], 1)).toMatchObject({ passed: 1, failed: 1 });
});

test('a run that ended badly is a failure although every test passed', () => {
  expect(totals([file('passed', 'passed')], 1)).toMatchObject({ passed: 1, failed: 1 });
  expect(totals([file('passed', 'passed')], null)).toMatchObject({ passed: 1, failed: 1 });
  expect(totals([file('passed', 'passed')], 0)).toMatchObject({ passed: 1, failed: 0 });
});

test('a report that is missing is a failure', () => {
  expect(readReport(join(directory, 'none.json'), 0)).toEqual({ passed: 0, failed: 1, skipped: [] });
});
