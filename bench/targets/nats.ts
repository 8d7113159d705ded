// One NATS server with JetStream; the program is that of the tests.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findNats } from '../../packages/server/test/engines/nats-program.ts';
import { Child } from '../child.ts';
import { serverCore } from '../pin.ts';
import { TemporaryDirectory } from '../temporary.ts';
import type { Broker, Sync } from './broker.ts';
import { freePort, listens } from './target.ts';

export async function startNats(sync: Sync): Promise<Broker> {
  const program = findNats();
  if (program === undefined) throw new Error('nats: there is no nats-server 2.12 or newer; npm test builds one');
  const port = await freePort();
  const monitor = await freePort();
  await using stack = new AsyncDisposableStack();
  const home = stack.use(new TemporaryDirectory());
  const file = join(home.path, 'nats.conf');
  const syncing = sync === 'always' ? ', sync_interval: always' : '';
  writeFileSync(
    file,
    `listen: "127.0.0.1:${port}"\nhttp: "127.0.0.1:${monitor}"\njetstream { store_dir: "${join(home.path, 'js')}"${syncing} }\n`,
  );
  const child = stack.use(new Child('nats', serverCore, program, ['-c', file]));
  await child.ready(() => listens(port));
  const all = stack.move();
  return {
    url: `nats://127.0.0.1:${port}`,
    settings: sync === 'always' ? ['--nats.synced'] : [],
    pids: () => child.pids(),
    calls: () => callsOf(`http://127.0.0.1:${monitor}`),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** All that it was sent, by whomever: whoever asks for records sends a message. */
async function callsOf(monitor: string): Promise<Map<string, number>> {
  const { in_msgs: sent } = (await (await fetch(`${monitor}/varz`)).json()) as { in_msgs: number };
  return new Map([['messages', sent]]);
}
