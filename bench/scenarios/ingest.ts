// Publishing without subscribers: requests on one connection, and one NDJSON body.
import { Load } from '../load/load.ts';
import type { Entry, Options, Sample, Scenario } from '../scenario.ts';
import { startBaseline } from '../targets/baseline.ts';
import { ndjsonPath, startTailrace } from '../targets/tailrace.ts';
import { type Target, topic } from '../targets/target.ts';

const depth = 256;
const figure = 'messages/s';

export function ingestScenarios(): Scenario[] {
  const baseline = pipelineEntry('http-ok', () => startBaseline('http-ok'));
  return [
    {
      name: 'publish',
      about: `durable publishes on one connection, ${depth} in flight (pipelined)`,
      entries: [pipelineEntry('tailrace', ({ profile }) => startTailrace(profile)), baseline],
      goals: [{ figure, of: 'tailrace', to: 'http-ok', atLeast: 0.7 }],
    },
    {
      name: 'ndjson',
      about: `durable NDJSON, one streaming body; http-ok: ${depth} pipelined requests, as in publish`,
      entries: [{ name: 'tailrace', measure: measureNdjson }, baseline],
      goals: [{ figure, of: 'tailrace', to: 'http-ok', atLeast: 10 }],
    },
  ];
}

function pipelineEntry(name: string, start: (options: Options) => Promise<Target>): Entry {
  return {
    name,
    measure: async options => {
      await using target = await start(options);
      await using load = new Load();
      const { publishesPerSecond, ack, cpu, refused } = await load.call('pipeline', {
        target: target.publish,
        serverPids: target.pids(),
        depth,
        warmUpMs: options.warmUpMs,
        windowMs: options.windowMs,
      });
      return { figures: { [figure]: publishesPerSecond, 'ack p50 ms': ack.p50, 'ack p99 ms': ack.p99 }, cpu, refused };
    },
  };
}

async function measureNdjson({ profile, warmUpMs, windowMs }: Options): Promise<Sample> {
  await using target = await startTailrace(profile);
  await using load = new Load();
  const { recordsPerSecond, sent, accepted, cpu } = await load.call('ndjson', {
    target: { port: target.port, path: ndjsonPath },
    serverPids: target.pids(),
    topic,
    warmUpMs,
    windowMs,
  });
  if (accepted !== sent) throw new Error(`NDJSON: ${accepted} of ${sent} lines accepted`);
  return { figures: { [figure]: recordsPerSecond }, cpu };
}
