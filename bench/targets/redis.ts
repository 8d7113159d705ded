// Redis, for servers that share it: on the servers' core, every write in its log.
import { Redis } from 'ioredis';
import { Child } from '../child.ts';
import { serverCore } from '../pin.ts';
import { TemporaryDirectory } from '../temporary.ts';
import { freePort, listens } from './target.ts';

/** When Redis syncs its log (`appendfsync`): before it answers, or once a second. */
export type Sync = 'always' | 'everysec';

export interface RedisTarget extends AsyncDisposable {
  readonly url: string;
  pids(): number[];
  /** Calls so far of each command, as Redis itself counts them. */
  calls(): Promise<Map<string, number>>;
}

export async function startRedis(sync: Sync, core: number = serverCore): Promise<RedisTarget> {
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  await using stack = new AsyncDisposableStack();
  const home = stack.use(new TemporaryDirectory());
  const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', home.path];
  const keeping = ['--save', '', '--appendonly', 'yes', '--appendfsync', sync];
  const child = stack.use(new Child('redis', core, 'redis-server', [...place, ...keeping]));
  await child.ready(() => listens(port));
  const all = stack.move();
  return {
    url,
    pids: () => child.pids(),
    calls: () => callsOf(url),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

async function callsOf(url: string): Promise<Map<string, number>> {
  const client = new Redis(url);
  try {
    const told = await client.info('commandstats');
    return new Map(
      Array.from(told.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm), ([, name, calls]) => [name!, Number(calls)]),
    );
  } finally {
    client.disconnect();
  }
}
