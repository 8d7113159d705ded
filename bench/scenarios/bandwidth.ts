// Messages of 1 KB to 1,000 subscribers: bytes instead of messages.

import type { Entry, Options, Scenario } from '../scenario.ts';
import { startBaseline } from '../targets/baseline.ts';
import { startNchan } from '../targets/nchan.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { type Target, topic } from '../targets/target.ts';
import { measureBareWrites } from './ceiling.ts';
import { runFanout, sampleOf } from './fanout.ts';

const payloadLength = 1_024;
const inFlight = 256;
const megabyte = 1024 ** 2;
const figure = 'payload MB/s';

export function bandwidthScenarios(): Scenario[] {
  return [
    {
      name: 'bandwidth',
      about: `1,000 SSE subscribers, payloads of 1 KB, ${inFlight} publishes in flight (MB: 1024 × 1024 bytes)`,
      entries: [
        bandwidthEntry('tailrace', ({ profile }) => startTailrace(profile)),
        bandwidthEntry('http-sse', () => startBaseline('http-sse')),
        { name: 'bare-writes', measure: measureCeiling },
        bandwidthEntry('nchan', startNchan),
      ],
      goals: [
        { figure, of: 'tailrace', atLeast: 110 },
        { figure, of: 'tailrace', to: 'http-sse' },
        { figure, of: 'tailrace', to: 'bare-writes' },
      ],
    },
  ];
}

function bandwidthEntry(name: string, start: (options: Options) => Promise<Target>): Entry {
  return {
    name,
    measure: async options => {
      await using target = await start(options);
      const result = await runFanout(target, [target.sse([topic])], { inFlight, payloadLength }, options);
      const sample = sampleOf(result);
      return { ...sample, figures: { ...bytesOf(result), ...sample.figures } };
    },
  };
}

/** As many bytes as the kernel moves and the load generator takes, in writes as long as a full pass of the server. */
async function measureCeiling(options: Options): ReturnType<Entry['measure']> {
  const result = await measureBareWrites(options, inFlight, payloadLength);
  return { figures: { ...bytesOf(result), 'deliveries/s': result.deliveriesPerSecond }, cpu: result.cpu };
}

function bytesOf(result: { deliveriesPerSecond: number; bytesPerDelivery: number }): Record<string, number> {
  const { deliveriesPerSecond, bytesPerDelivery } = result;
  return {
    [figure]: (deliveriesPerSecond * payloadLength) / megabyte,
    'MB/s on the wire': (deliveriesPerSecond * bytesPerDelivery) / megabyte,
  };
}
