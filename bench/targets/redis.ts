// Redis with every write in its log.
import { Redis } from 'ioredis';
import { Child } from '../child.ts';
import { serverCore } from '../pin.ts';
import { TemporaryDirectory } from '../temporary.ts';
import type { Broker, Sync } from './broker.ts';
import { freePort, listens } from './target.ts';

/** Commands that read records, or ask for anything at all by a script. */
const reads: readonly string[] = ['xread', 'xrange', 'xrevrange', 'evalsha', 'eval'];

export async function startRedis(sync: Sync, core: number = serverCore): Promise<Broker> {
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  await using stack = new AsyncDisposableStack();
  const home = stack.use(new TemporaryDirectory());
  const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', home.path];
  const keeping = ['--save', '', '--appendonly', 'yes', '--appendfsync', sync === 'always' ? sync : 'everysec'];
  const child = stack.use(new Child('redis', core, 'redis-server', [...place, ...keeping]));
  await child.ready(() => listens(port));
  const all = stack.move();
  return {
    url,
    settings: [],
    pids: () => child.pids(),
    calls: () => callsOf(url),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

async function callsOf(url: string): Promise<Map<string, number>> {
  const client = new Redis(url);
  try {
    const told = await client.info('commandstats');
    const calls = Array.from(
      told.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm),
      ([, name, count]) => [name!, count!] as const,
    );
    return new Map(calls.flatMap(([name, count]) => (reads.includes(name) ? [[name, Number(count)]] : [])));
  } finally {
    client.disconnect();
  }
}
