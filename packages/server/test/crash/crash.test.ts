import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { expect, test } from 'vitest';
import { crashRounds } from './rounds.ts';

test('200 kills at random moments lose nothing that was acknowledged, and double nothing', { timeout: 180_000 }, async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tailrace-crash-'));
  const report = await crashRounds(directory, 200, Math.floor(Math.random() * 1e6));
  fs.rmSync(directory, { recursive: true });
  expect(report).toMatchObject({ rounds: 200, kills: 200 });
  // rounds in which nothing happens would prove nothing
  expect(report.acked).toBeGreaterThan(5000);
  expect(report.tailsCopied).toBeGreaterThan(100);
  expect(report.sealed).toBeGreaterThan(100);
});
