import { fileURLToPath } from 'node:url';
import { Child } from '../child.ts';
import { serverCore } from '../pin.ts';
import { freePort, gcOnRequest, listens, sseRequest, type Target, wsRequest } from './target.ts';

export type BaselineName = 'http-sse' | 'ws-broadcast' | 'http-ok' | 'net-fanout' | 'bare-writes';

/** A server of `bench/baselines`: one topic, any path, nothing kept. */
export async function startBaseline(name: BaselineName, ...args: string[]): Promise<Target> {
  const port = await freePort();
  const script = fileURLToPath(new URL(`../baselines/${name}.ts`, import.meta.url));
  const child = new Child(name, serverCore, process.execPath, [gcOnRequest, script, String(port), ...args]);
  try {
    await child.ready(() => listens(port));
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return {
    port,
    publish: { port, path: '/publish' },
    pids: () => child.pids(),
    collectGarbage: () => child.ask('gc'),
    sse: () => ({ transport: 'sse', request: sseRequest(port, '/sse') }),
    ws: () => ({ transport: 'ws', request: wsRequest(port, '/ws') }),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}
