import { expect, test } from 'vitest';
import { firstSeed } from '../seeded-random.ts';
import { emptyReport, type SimulationReport, simulate } from './simulation.ts';

/** A simulation in which nothing is torn proves nothing: on a busy machine it takes longer than the time given. */
const least = {
  direct: 100,
  seconds: 50,
  overtaken: 5,
  tailsCut: 6,
  tailsCopied: 6,
  tailsRewritten: 1,
  fullStarts: 1,
  sealed: 101,
  rewritten: 6,
  dropped: 20,
  deletions: 6,
  deleted: 20,
  repeated: 100,
} as const;

test('histories of power cuts, kills, closes and full disks keep every ack, by seed', {
  timeout: 180_000,
}, async () => {
  const sum = emptyReport();
  const first = firstSeed();
  const deadline = performance.now() + 12_000;
  const proven = (): boolean =>
    Object.entries(least).every(([of, count]) => sum[of as keyof SimulationReport] >= count);
  let seeds = 0;
  for (; seeds < 2000 && (performance.now() < deadline || seeds < 21 || !proven()); seeds++) {
    const report = await simulate(first + seeds);
    for (const key of Object.keys(sum) as (keyof SimulationReport)[]) sum[key] += report[key];
  }
  console.log(`${seeds} seeds from ${first}:`, JSON.stringify(sum));
  for (const [of, count] of Object.entries(least))
    expect.soft(sum[of as keyof SimulationReport], of).toBeGreaterThanOrEqual(count);
});
