import { fileURLToPath } from 'node:url';
import { Child } from '../child.ts';
import { serverCore } from '../pin.ts';
import { TemporaryDirectory } from '../temporary.ts';
import { freePort, gcOnRequest, sseRequest, type Target, topic, wsRequest } from './target.ts';

const script = fileURLToPath(new URL('../../packages/server/bin/tailrace.js', import.meta.url));

/**
 * The server of this repository as `npm start` runs it (durability fsync, data on the disk under the temporary
 * directory). `TAILRACE_…` variables of the caller reach it. `profile`: a directory for `--cpu-prof`.
 * `settings`: flags beyond those.
 */
export async function startTailrace(profile: string | undefined, ...settings: string[]): Promise<Target> {
  const port = await freePort();
  const data = new TemporaryDirectory();
  const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  const child = new Child('tailrace', serverCore, process.execPath, [
    // the launcher would start itself anew with it
    '--v8-pool-size=0',
    gcOnRequest,
    ...profiling,
    script,
    'serve',
    '--port',
    String(port),
    '--data',
    data.path,
    ...settings,
  ]);
  const stop = async (): Promise<void> => {
    await child[Symbol.asyncDispose]();
    data[Symbol.dispose]();
  };
  try {
    await child.ready(() => isReady(port));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    port,
    publish: { port, path: `/v1/topics/${topic}` },
    pids: () => child.pids(),
    collectGarbage: () => child.ask('gc'),
    sse: (filters, cursor) => ({
      transport: 'sse',
      request: sseRequest(port, streamPath(filters), cursor === undefined ? '' : `Last-Event-ID: ${cursor}\r\n`),
    }),
    ws: filters => ({
      transport: 'ws',
      request: wsRequest(port, '/v1/ws'),
      hello: JSON.stringify({ type: 'subscribe', subscriptions: [{ filter: filters }] }),
      ready: '"type":"subscribed"',
    }),
    [Symbol.asyncDispose]: stop,
  };
}

/** Where NDJSON is streamed to. */
export const ndjsonPath = '/v1/publish';

function streamPath(filters: readonly string[]): string {
  return `/v1/sse?${filters.map(filter => `filter=${encodeURIComponent(filter)}`).join('&')}`;
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
  } catch {
    return false;
  }
}
