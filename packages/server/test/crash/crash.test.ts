import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { expect, test } from 'vitest';
import { type CrashReport, crashRounds } from './rounds.ts';

test('200 kills at random moments lose nothing that was acknowledged, and double nothing', {
  timeout: 180_000,
}, async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tailrace-crash-'));
  const seed = Math.floor(Math.random() * 1e6);
  // two lanes, for two cores; a failure names its seed
  const reports = await Promise.all([0, 1].map(lane => crashRounds(path.join(directory, `${lane}`), 100, seed + lane)));
  fs.rmSync(directory, { recursive: true });
  const sum = (of: (report: CrashReport) => number) => reports.reduce((total, report) => total + of(report), 0);
  expect(sum(report => report.kills)).toBe(200);
  // rounds in which nothing happens would prove nothing
  expect(sum(report => report.acked)).toBeGreaterThan(5000);
  expect(sum(report => report.tailsCopied)).toBeGreaterThan(50);
  expect(sum(report => report.sealed)).toBeGreaterThan(100);
});
