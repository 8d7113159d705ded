import { expect, test } from 'vitest';
import { type SimulationReport, simulate } from './simulation.ts';

test('histories of power cuts, kills and closes keep every ack, by seed', { timeout: 60_000 }, async () => {
  const sum: SimulationReport = { starts: 0, appended: 0, acked: 0, tailsCut: 0, tailsCopied: 0, sealed: 0 };
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
  expect(sum.sealed).toBeGreaterThan(100);
});
