// Filters and the two-way graph inside the server's code, without network: mission C1 and C2.
import { Load } from '../load/load.ts';
import type { Entry, Goal, Options, Scenario } from '../scenario.ts';

/** Filters → goals. The mission names no wildcard goal beyond 10,000. */
const sizes: readonly { filters: number; name: string; goals: readonly Goal[] }[] = [
  {
    filters: 10_000,
    name: 'index-10k',
    goals: [below('ns: exact match', 1_000), below('ns: wildcard match', 10_000), ...graphGoals(1.3)],
  },
  { filters: 100_000, name: 'index-100k', goals: [below('ns: exact match', 1_000), ...graphGoals(2)] },
];

export function lookupScenarios(): Scenario[] {
  return sizes.map(({ filters, name, goals }) => ({
    name,
    about: `lookups in the server's own index and hub, ${filters.toLocaleString('en-US')} filters; no network`,
    entries: [lookupEntry('tailrace', 'index', filters), lookupEntry('linear scan', 'scan', filters)],
    goals: [
      ...goals,
      { figure: 'ns: exact match', of: 'linear scan', to: 'tailrace' },
      { figure: 'ns: wildcard match', of: 'linear scan', to: 'tailrace' },
      { figure: 'ms: who listens', of: 'linear scan', to: 'tailrace' },
      { figure: 'ms: what U listens to', of: 'linear scan', to: 'tailrace' },
    ],
  }));
}

function lookupEntry(name: string, way: 'index' | 'scan', filters: number): Entry {
  return {
    name,
    measure: async ({ windowMs }: Options) => {
      await using load = new Load();
      // a dozen figures: a quarter of the window each
      return await load.call('lookups', { filters, way, windowMs: windowMs / 4 });
    },
  };
}

function graphGoals(atMost: number): Goal[] {
  return [
    below('ms: who listens', atMost),
    below('ms: who listens, every 10th subscription does', atMost),
    below('ms: what U listens to', atMost),
    below('ms: what U listens to, 256 subscriptions', atMost),
  ];
}

function below(figure: string, atMost: number): Goal {
  return { figure, of: 'tailrace', atMost };
}
