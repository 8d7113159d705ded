import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../log/seeded-random.ts';
import { killServer } from './killed-server.ts';

describe('a server that ends at a random moment', () => {
  it('I1 I3: after SIGKILL every acked message is there once and in order, and a subscriber that comes back sees them all', async () => {
    const report = await killServer(50, new SeededRandom(7));
    expect(report.rounds).toBe(50);
    expect(report.acked).toBeGreaterThan(2000);
    expect(report.reconnects).toBeGreaterThanOrEqual(50);
    // a kill that never hits a publish under way would prove nothing
    expect(report.unanswered).toBeGreaterThan(0);
  }, 400_000);

  it('after SIGTERM each publish was answered or never appended, and the exit code is 0', async () => {
    const report = await killServer(5, new SeededRandom(8), 'SIGTERM');
    expect(report.rounds).toBe(5);
    expect(report.received).toBe(report.acked);
  }, 120_000);
});
