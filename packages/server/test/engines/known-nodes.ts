import { expect } from 'vitest';
import type { LogNode } from '../../src/log/index.ts';
import { version } from '../../src/version.ts';
import type { Served } from '../cli/served.ts';
import { until } from '../log/messages.ts';

async function nodesAt(node: Served): Promise<LogNode[]> {
  return ((await (await fetch(`${node.url}/v1/nodes`)).json()) as { nodes: LogNode[] }).nodes;
}

/** Two servers of one log, of which `b` started later, and one that comes when `b` has said goodbye. */
export async function knowEachOther(a: Served, b: Served): Promise<void> {
  await until('b knows a', async () => (await nodesAt(b)).length === 2);
  const [self, other] = await nodesAt(b);
  expect(self).toMatchObject({ address: `127.0.0.1:${b.port}`, version, lag: 0, silence: 0 });
  expect(other).toMatchObject({ address: `127.0.0.1:${a.port}`, version, lag: 0, name: self!.name });
  expect(other!.id).not.toBe(self!.id);
  expect(Math.abs(Date.now() - other!.since)).toBeLessThan(60_000);
  expect(await (await fetch(`${b.url}/metrics`)).text()).toMatch(/^tailrace_cluster_nodes 2$/m);
  await b.kill('SIGTERM');
  await a.kill('SIGKILL');
  await a.startAgain();
  // the one that was killed is there for a while, the one that said goodbye is not
  await until('it knows', async () => (await nodesAt(a)).length === 2);
  expect((await nodesAt(a)).map(({ id }) => id)).toContain(other!.id);
  expect((await nodesAt(a)).map(({ id }) => id)).not.toContain(self!.id);
}
