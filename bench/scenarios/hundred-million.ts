// One long run: 100,000,000 deliveries, and not one lost, doubled or out of order.
import { residentBytes } from '../cpu.ts';
import { Load } from '../load/load.ts';
import { type Options, type Sample, type Scenario, subscriberCount } from '../scenario.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { topic } from '../targets/target.ts';
import { settledMemory } from './memory.ts';

const inFlight = 256;
const withinMs = 600_000;
/** For connecting, draining and comparing. */
const besidesMs = 120_000;
const megabyte = 1024 ** 2;

export function hundredMillionScenarios(): Scenario[] {
  return [
    {
      name: 'hundred-million',
      about: `until 100,000,000 deliveries are counted: 1,000 SSE subscribers, ${inFlight} publishes in flight`,
      entries: [{ name: 'tailrace', measure: measureLongRun }],
      goals: [{ figure: 'deliveries/s', of: 'tailrace', atLeast: 1_000_000 }],
      long: true,
    },
  ];
}

async function measureLongRun({ profile, manyDeliveries }: Options): Promise<Sample> {
  await using target = await startTailrace(profile);
  await using load = new Load();
  await load.call('open', { port: target.port, subscriptions: [target.sse([topic])], count: subscriberCount });
  const before = await settledMemory(target);
  const job = { target: target.publish, serverPids: target.pids(), inFlight, deliveries: manyDeliveries, withinMs };
  const result = await load.call('longRun', job, withinMs + besidesMs);
  const atEnd = residentBytes(target.pids());
  const after = await settledMemory(target);
  const { seconds, deliveriesPerSecond, messages, count, cpu, refused, lost } = result;
  return {
    figures: {
      seconds,
      'deliveries/s': deliveriesPerSecond,
      messages,
      'server RSS MB before': before / megabyte,
      'server RSS MB at the end': atEnd / megabyte,
      'server RSS MB after gc': after / megabyte,
    },
    count,
    cpu,
    refused,
    lost,
  };
}
