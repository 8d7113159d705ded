import { expect, test } from 'vitest';
import { emptyReport, type SimulationReport, simulate } from './simulation.ts';

test('histories of power cuts, kills, closes and full disks keep every ack, by seed', { timeout: 60_000 }, async () => {
  const sum = emptyReport();
  const first = Math.floor(Math.random() * 1e9);
  const deadline = performance.now() + 12_000;
  let seeds = 0;
  for (; seeds < 2000 && performance.now() < deadline; seeds++) {
    const report = await simulate(first + seeds);
    for (const key of Object.keys(sum) as (keyof SimulationReport)[]) sum[key] += report[key];
  }
  console.log(`${seeds} seeds from ${first}:`, JSON.stringify(sum));
  expect(seeds).toBeGreaterThan(20);
  // a simulation in which nothing is torn proves nothing
  expect(sum.tailsCut).toBeGreaterThan(5);
  expect(sum.tailsCopied).toBeGreaterThan(5);
  expect(sum.tailsRewritten).toBeGreaterThan(0);
  expect(sum.fullStarts).toBeGreaterThan(0);
  expect(sum.sealed).toBeGreaterThan(100);
});
