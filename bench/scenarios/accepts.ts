// How many new connections a second get their response head while a fan-out keeps the server's core busy.
import { Load } from '../load/load.ts';
import { type Entry, type Options, type Scenario, subscriberCount } from '../scenario.ts';
import { startBaseline } from '../targets/baseline.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { type Target, topic } from '../targets/target.ts';

const connectsAtOnce = 64;

export function acceptScenarios(): Scenario[] {
  return [
    {
      name: 'accepts',
      about: `new SSE connections/s beside 1,000 subscribers with 1 publish in flight, ${connectsAtOnce} connects under way`,
      entries: [
        acceptsEntry('tailrace', ({ profile }) => startTailrace(profile)),
        acceptsEntry('net-fanout', () => startBaseline('net-fanout')),
      ],
      goals: [{ figure: 'accepts/s', of: 'tailrace', to: 'net-fanout', atLeast: 3 }],
    },
  ];
}

function acceptsEntry(name: string, start: (options: Options) => Promise<Target>): Entry {
  return {
    name,
    measure: async options => {
      await using target = await start(options);
      await using load = new Load();
      const subscription = target.sse([topic]);
      await load.call('open', { port: target.port, subscriptions: [subscription], count: subscriberCount });
      const { acceptsPerSecond, deliveriesPerSecond, ...rest } = await load.call('accepts', {
        target: target.publish,
        serverPids: target.pids(),
        request: subscription.request,
        atOnce: connectsAtOnce,
        warmUpMs: options.warmUpMs,
        windowMs: options.windowMs,
      });
      return { figures: { 'accepts/s': acceptsPerSecond, 'deliveries/s': deliveriesPerSecond }, ...rest };
    },
  };
}
