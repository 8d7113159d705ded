import { fileURLToPath } from 'node:url';
import { Child } from '../child.ts';
import { serverCore } from '../pin.ts';
import { freePort, gcOnRequest, listens, type Target, wsRequest } from './target.ts';

const script = fileURLToPath(new URL('../baselines/socket-io.ts', import.meta.url));
/** The first start installs it. */
const installedWithin = 120_000;

/** A node of `bench/baselines/socket-io.ts`; whoever connects is in its one room. */
export async function startSocketIo(redis: string): Promise<Target> {
  const port = await freePort();
  const child = new Child('socket.io', serverCore, process.execPath, [gcOnRequest, script, String(port), redis]);
  try {
    await child.ready(() => listens(port), installedWithin);
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
  return {
    port,
    publish: { port, path: '/publish' },
    pids: () => child.pids(),
    collectGarbage: () => child.ask('gc'),
    sse: () => {
      throw new Error('socket.io has no SSE');
    },
    // Engine.IO 4: "40" asks for the namespace, and its answer says that the socket is there
    ws: () => ({
      transport: 'ws',
      request: wsRequest(port, '/socket.io/?EIO=4&transport=websocket'),
      hello: '40',
      ready: '40{"sid"',
    }),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}
