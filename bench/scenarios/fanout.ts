// 1,000 subscribers of one topic, 1 / 16 / 256 publishes in flight.
import type { FanoutResult } from '../load/fanout.ts';
import { Load } from '../load/load.ts';
import type { Subscription } from '../load/subscriber.ts';
import { type Entry, type Goal, type Options, type Sample, type Scenario, subscriberCount } from '../scenario.ts';
import { startBaseline } from '../targets/baseline.ts';
import { startNchan } from '../targets/nchan.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { type Target, topic } from '../targets/target.ts';

export type Transport = 'sse' | 'ws';

export interface FanoutLoad {
  inFlight: number;
  /** In flight until delivered, not until acknowledged. */
  untilDelivered?: boolean;
  /** Messages a second; else as fast as `inFlight` allows. */
  rate?: number;
  /** Bytes of each payload; else 130. */
  payloadLength?: number;
}

/** In flight → times the baseline and times nchan that the issue asks for. */
const inFlights: readonly { inFlight: number; times: { baseline?: number; nchan: number } }[] = [
  { inFlight: 1, times: { baseline: 3, nchan: 3 } },
  { inFlight: 16, times: { baseline: 20, nchan: 20 } },
  { inFlight: 256, times: { nchan: 40 } },
];
const heldBelowMs = 1_000;

export function fanoutScenarios(): Scenario[] {
  return (['sse', 'ws'] as const).flatMap(transport =>
    inFlights.map(({ inFlight, times }) => ({
      name: `${transport}-${inFlight}`,
      about: `1,000 ${transport.toUpperCase()} subscribers of one topic, ${inFlight} publishes in flight`,
      entries: fanoutEntries(transport, { inFlight }),
      goals: fanoutGoals(transport, inFlight, times),
    })),
  );
}

/** The server, the baseline of the transport and nchan, each with the same load. */
export function fanoutEntries(transport: Transport, load: FanoutLoad): Entry[] {
  const baseline = baselineOf(transport);
  const entry = (name: string, start: (options: Options) => Promise<Target>): Entry => ({
    name,
    measure: async options => {
      await using target = await start(options);
      return await measureFanout(target, [target[transport]([topic])], load, options);
    },
  });
  return [
    entry('tailrace', ({ profile }) => startTailrace(profile)),
    entry(baseline, () => startBaseline(baseline)),
    entry('nchan', startNchan),
  ];
}

export function baselineOf(transport: Transport): 'http-sse' | 'ws-broadcast' {
  return transport === 'sse' ? 'http-sse' : 'ws-broadcast';
}

/** Subscriber i asks for `subscriptions[i % length]`. */
export async function measureFanout(
  target: Target,
  subscriptions: Subscription[],
  load: FanoutLoad,
  options: Options,
): Promise<Sample> {
  return sampleOf(await runFanout(target, subscriptions, load, options));
}

export async function runFanout(
  target: Target,
  subscriptions: Subscription[],
  { inFlight, untilDelivered, payloadLength, rate = 0 }: FanoutLoad,
  { warmUpMs, windowMs }: Options,
): Promise<FanoutResult> {
  await using load = new Load();
  await load.call('open', { port: target.port, subscriptions, count: subscriberCount });
  return await load.call('fanout', {
    target: target.publish,
    serverPids: target.pids(),
    inFlight,
    untilDelivered,
    payloadLength,
    rate,
    warmUpMs,
    windowMs,
  });
}

export function sampleOf({ deliveriesPerSecond, delivery, ack, count, cpu, refused, lost }: FanoutResult): Sample {
  return {
    figures: {
      'deliveries/s': deliveriesPerSecond,
      'delivery p50 ms': delivery.p50,
      'delivery p99 ms': delivery.p99,
      'ack p50 ms': ack.p50,
      'ack p99 ms': ack.p99,
    },
    count,
    cpu,
    refused,
    lost,
  };
}

function fanoutGoals(transport: Transport, inFlight: number, times: { baseline?: number; nchan: number }): Goal[] {
  const goal = { figure: 'deliveries/s', of: 'tailrace' };
  const goals: Goal[] = [];
  if (transport === 'ws') {
    // the issue asks of WS "the same against `ws` broadcast"
    goals.push({ ...goal, to: 'ws-broadcast', atLeast: times.nchan });
  } else {
    if (times.baseline !== undefined) goals.push({ ...goal, to: 'http-sse', atLeast: times.baseline });
    goals.push({ ...goal, to: 'nchan', atLeast: times.nchan });
  }
  if (inFlight === 256) goals.push({ figure: 'delivery p99 ms', of: 'tailrace', atMost: heldBelowMs });
  return goals;
}
