import { afterEach, expect, test } from 'vitest';
import { openNatsPartitions } from '../../src/engines/nats/nats-log.ts';
import type { Log } from '../../src/log/log.ts';
import { Served } from '../cli/served.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { catchesUp } from './lagging-tail.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

const cleanup: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

async function startServer(): Promise<NatsServer> {
  const server = await NatsServer.start();
  cleanup.push(() => server.stop('SIGKILL'));
  return server;
}

async function startProxy(server: NatsServer): Promise<FaultyProxy> {
  const proxy = await FaultyProxy.start(server.port);
  cleanup.push(() => proxy.close());
  return proxy;
}

async function open(port: number, partitions: number): Promise<Log> {
  const log = await openNatsPartitions({ url: `nats://127.0.0.1:${port}`, synced: true, partitions });
  cleanup.push(() => log.close());
  return log;
}

withNats('servers on one NATS', () => {
  test('a tail that catches up shows how far it is behind, each partition its own', async () => {
    const server = await startServer();
    const proxy = await startProxy(server);
    await catchesUp(await open(proxy.port, 3), await open(server.port, 3), proxy);
  }, 60_000);

  test('each tells how far its tails are behind, and nothing of other nodes, which it does not hear of', async () => {
    const server = await startServer();
    const settings = ['--engine', server.url, '--nats.synced', '--nats.partitions', '2'];
    await using node = await Served.start([...settings, '--log.level', 'error']);
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    const lags = metrics.split('\n').filter(line => line.startsWith('tailrace_tail_lag_records{'));
    expect(lags).toEqual([0, 1].map(p => `tailrace_tail_lag_records{partition="${p}"} 0`));
    expect(metrics).not.toMatch(/^tailrace_cluster_nodes /m);
    const refused = await fetch(`${node.url}/v1/nodes`);
    expect([refused.status, await refused.json()]).toMatchObject([400, { code: 'unsupported' }]);
  });
});
