import { describe, expect, it } from 'vitest';
import type { CpuShares } from '../cpu.ts';
import { Histogram } from '../histogram.ts';
import { judge, renderScenario } from '../report.ts';

const quiet: CpuShares = { server: 0.5, load: 0.4, others: 0, stolen: 0, serverCore: 0.5 };

function report(...shares: Partial<CpuShares>[]): string {
  const samples = shares.map(share => ({ figures: {}, cpu: { ...quiet, ...share } }));
  return renderScenario(judge({ name: 'one', about: '', entries: [], goals: [] }, [{ name: 'tailrace', samples }]));
}

describe('a repeat is marked', () => {
  it('DISTURBED by other processes and by the host', () => {
    expect(report(quiet, { others: 0.06 })).toContain('DISTURBED: other processes used up to 6 % of a core');
    expect(report({ stolen: 0.2 }, quiet)).toContain('the host of this machine 20 %');
  });

  it('not DISTURBED by what the kernel does for the run', () => {
    expect(report({ serverCore: 0.8 })).not.toContain('DISTURBED');
  });

  it('SATURATED, with who was the limit', () => {
    expect(report({ load: 0.95 })).toContain('the load generator was the limit');
    expect(report({ load: 0.95, serverCore: 0.95 })).toContain("the server's core was full too");
    expect(report({ load: 0.85 })).not.toContain('SATURATED');
  });
});

describe('a figure without samples', () => {
  const goal = { figure: 'ms: ack', of: 'tailrace', atMost: 1 };
  const render = (value: number): string => {
    // as it comes from the load process
    const figures = JSON.parse(JSON.stringify({ 'ms: ack': value, 'messages/s': 0 })) as Record<string, number>;
    const scenario = { name: 'one', about: '', entries: [], goals: [goal, { ...goal, to: 'tailrace' }] };
    return renderScenario(judge(scenario, [{ name: 'tailrace', samples: [{ figures }] }]));
  };

  it('says so, and keeps no goal', () => {
    const text = render(new Histogram().quantile(0.5));
    expect(text).toMatch(/ms: ack +tailrace +no samples$/m);
    expect(text).toMatch(/messages\/s +tailrace +0\.0 +0\.0 +0\.0$/m);
    expect(text).toContain('ms: ack, tailrace ≤ 1: not measured');
    expect(text).toContain('ms: ack, tailrace ≤ 1x tailrace: not measured');
  });

  it('which is not the same as a figure of nothing', () => {
    expect(render(0)).toContain('ms: ack, tailrace ≤ 1: 0.0 (0.0–0.0) ok');
  });
});
