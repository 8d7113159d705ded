// What the load generator itself can count: a bare loop gives each of 1,000 sockets its next bytes as soon as it took
// the last. A figure of another scenario that comes near this one is the generator's, not the server's.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Load } from '../load/load.ts';
import { makePayload, usualPayload } from '../load/payload.ts';
import type { ReceiveResult } from '../load/process.ts';
import { type Entry, type Options, type Scenario, subscriberCount } from '../scenario.ts';
import { startBaseline } from '../targets/baseline.ts';
import { topic } from '../targets/target.ts';
import { TemporaryDirectory } from '../temporary.ts';

/** As long as an SSE delivery of the server is. */
function deliveryOf(payloadLength: number): string {
  return `id: k3f9.7.1000000\ndata: {"topic":"bench/room","offset":1000000,"time":1763700000000,"data":${makePayload(payloadLength)}}\n\n`;
}

export function ceilingScenarios(): Scenario[] {
  return [
    {
      name: 'ceiling',
      about: 'deliveries/s that the load generator can count, by size of the writes',
      entries: [ceilingEntry('1 a write', 1), ceilingEntry('16 a write', 16), ceilingEntry('256 a write', 256)],
      goals: [],
    },
  ];
}

function ceilingEntry(name: string, deliveriesPerWrite: number): Entry {
  return {
    name,
    measure: async options => {
      const result = await measureBareWrites(options, deliveriesPerWrite, usualPayload);
      const megabytes = (result.deliveriesPerSecond * result.bytesPerDelivery) / 1024 ** 2;
      return { figures: { 'deliveries/s': result.deliveriesPerSecond, 'MB/s': megabytes }, cpu: result.cpu };
    },
  };
}

export async function measureBareWrites(
  { warmUpMs, windowMs }: Options,
  deliveriesPerWrite: number,
  payloadLength: number,
): Promise<ReceiveResult> {
  using home = new TemporaryDirectory();
  const file = join(home.path, 'stream');
  writeFileSync(file, deliveryOf(payloadLength).repeat(deliveriesPerWrite));
  await using target = await startBaseline('bare-writes', file, String(subscriberCount));
  await using load = new Load();
  await load.call('open', { port: target.port, subscriptions: [target.sse([topic])], count: subscriberCount });
  return await load.call('receive', { payloadLength, serverPids: target.pids(), warmUpMs, windowMs });
}
