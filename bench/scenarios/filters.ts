// 1,000 distinct filter sets that all match the topic, against 1,000 subscribers that share one.
import { type Entry, type Scenario, subscriberCount } from '../scenario.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { topic } from '../targets/target.ts';
import { measureFanout } from './fanout.ts';

const goals = [
  { inFlight: 1, atLeast: 0.7 },
  { inFlight: 16, atLeast: 0.6 },
  { inFlight: 256, atLeast: 0.6 },
];

const shared: readonly string[][] = [[topic]];
const distinct: readonly string[][] = Array.from({ length: subscriberCount }, (_, i) => [topic, `other/${i}`]);

export function filterScenarios(): Scenario[] {
  return goals.map(({ inFlight, atLeast }) => ({
    name: `filters-${inFlight}`,
    about: `1,000 SSE subscribers with 1,000 distinct filter sets that all match, ${inFlight} publishes in flight`,
    entries: [filtersEntry('distinct', distinct, inFlight), filtersEntry('shared', shared, inFlight)],
    goals: [{ figure: 'deliveries/s', of: 'distinct', to: 'shared', atLeast }],
  }));
}

function filtersEntry(name: string, filterSets: readonly string[][], inFlight: number): Entry {
  return {
    name,
    measure: async options => {
      await using target = await startTailrace(options.profile);
      const subscriptions = filterSets.map(filters => target.sse(filters));
      return await measureFanout(target, subscriptions, { inFlight }, options);
    },
  };
}
