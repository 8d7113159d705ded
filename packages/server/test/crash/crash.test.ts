import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { expect, test } from 'vitest';
import { firstSeed } from '../log/seeded-random.ts';
import { type CrashReport, crashRounds } from './rounds.ts';

/** Rounds in which nothing happens would prove nothing: on a busy machine there have to be more. */
const least = { rounds: 200, acked: 5000, received: 5000, tailsCopied: 50, sealed: 100 } as const;
const lanes = 2;

/** Enough for one lane; what this many rounds do not reach, more would not. */
function enough(report: CrashReport): boolean {
  const reached = Object.entries(least).every(([of, count]) => report[of as keyof CrashReport] >= count / lanes);
  return reached || report.rounds >= 500;
}

test('I1 I2 I3: 200 kills at random moments lose nothing that was acknowledged or delivered, double and reorder nothing', {
  timeout: 900_000,
}, async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tailrace-crash-'));
  const seed = firstSeed();
  // two lanes, for two cores; a failure names its seed
  const reports = await Promise.all(
    Array.from({ length: lanes }, (_, lane) => crashRounds(path.join(directory, `${lane}`), seed + lane, enough)),
  );
  fs.rmSync(directory, { recursive: true });
  for (const [of, count] of Object.entries(least)) {
    const total = reports.reduce((sum, report) => sum + report[of as keyof CrashReport], 0);
    expect.soft(total, of).toBeGreaterThanOrEqual(count);
  }
});
