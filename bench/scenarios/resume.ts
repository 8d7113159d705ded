// 1,000 clients come back with Last-Event-ID and get 1,000 messages each; against writing the same bytes to the same
// number of sockets in a bare loop.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Load } from '../load/load.ts';
import type { ResumeResult } from '../load/resume.ts';
import { type Options, type Sample, type Scenario, subscriberCount } from '../scenario.ts';
import { startBaseline } from '../targets/baseline.ts';
import { startTailrace } from '../targets/tailrace.ts';
import { type Target, topic } from '../targets/target.ts';
import { TemporaryDirectory } from '../temporary.ts';

const missed = 1_000;
const figure = 'ms until all are served';

export function resumeScenarios(): Scenario[] {
  // what one client of the server's turn received; the bare loop writes it in its own turn
  let stream: Buffer | undefined;

  const measureTailrace = async ({ profile }: Options): Promise<Sample> => {
    await using target = await startTailrace(profile);
    await using load = new Load();
    const cursor = await publishOne(target);
    await load.call('backfill', { target: target.publish, count: missed });
    const result = await load.call('resume', {
      port: target.port,
      serverPids: target.pids(),
      subscription: target.sse([topic], cursor),
      clients: subscriberCount,
      messages: missed,
      starter: 'each',
    });
    stream = Buffer.from(result.captured, 'base64');
    return sampleOf(result);
  };

  const measureBareLoop = async (): Promise<Sample> => {
    if (stream === undefined) throw new Error('the bare loop writes what tailrace wrote: it needs its turn first');
    using home = new TemporaryDirectory();
    const file = join(home.path, 'stream');
    writeFileSync(file, stream);
    await using target = await startBaseline('bare-writes', file);
    await using load = new Load();
    return sampleOf(
      await load.call('resume', {
        port: target.port,
        serverPids: target.pids(),
        subscription: target.sse([topic]),
        clients: subscriberCount,
        messages: missed,
        starter: 'first',
      }),
    );
  };

  return [
    {
      name: 'resume',
      about: `1,000 clients resume ${missed.toLocaleString('en-US')} missed messages each, all at once`,
      entries: [
        { name: 'tailrace', measure: measureTailrace },
        { name: 'bare-writes', measure: measureBareLoop },
      ],
      goals: [{ figure, of: 'tailrace', to: 'bare-writes', atMost: 2 }],
    },
  ];
}

/** Publishes a first message and answers its cursor: from there the clients resume. */
export async function publishOne({ publish: { port, path } }: Target): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '{"stamp":"before"}',
  });
  const { cursor } = (await response.json()) as { cursor?: unknown };
  if (typeof cursor !== 'string') throw new Error(`the first publish was answered ${response.status} without cursor`);
  return cursor;
}

function sampleOf({ milliseconds, bytes, count, cpu }: ResumeResult): Sample {
  return { figures: { [figure]: milliseconds, 'MB received': bytes / 1024 ** 2 }, count, cpu };
}
