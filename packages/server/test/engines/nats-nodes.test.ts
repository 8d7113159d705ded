import { expect, test } from 'vitest';
import { BrokerNodes } from '../../src/engines/broker/broker-nodes.ts';
import { JetStreamPartition } from '../../src/engines/nats/jetstream-partition.ts';
import { openNatsPartitions } from '../../src/engines/nats/nats-log.ts';
import type { Log } from '../../src/log/log.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message, until } from '../log/messages.ts';
import { afterwards, opened, startNats, startNode, startProxy } from './for-one-test.ts';
import { knowEachOther } from './known-nodes.ts';
import { catchesUp } from './lagging-tail.ts';
import type { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

const onTwo = ['--nats.synced', '--nats.partitions', '2'];

function open(port: number, partitions: number): Promise<Log> {
  return opened(openNatsPartitions({ url: `nats://127.0.0.1:${port}`, synced: true, partitions }));
}

/** Counts what the server passes on of what is not stored. */
async function bystanderAt(server: NatsServer): Promise<{ readonly heard: number }> {
  const client = await server.client({ reconnect: false });
  afterwards(() => client.close());
  const bystander = { heard: 0 };
  client.subscribe('tailrace.live', { callback: () => void bystander.heard++ });
  await client.flush();
  return bystander;
}

withNats('servers on one NATS', () => {
  test('a tail that catches up shows how far it is behind, each partition its own', async () => {
    const server = await startNats();
    const proxy = await startProxy(server);
    await catchesUp(await open(proxy.port, 3), await open(server.port, 3), proxy);
  }, 60_000);

  test('what was removed before it came is not waited for', async () => {
    const server = await startNats();
    const proxy = await startProxy(server);
    const [late, other] = [await open(proxy.port, 1), await open(server.port, 1)];
    await late.append([message('a')], 'fsync');
    proxy.stall();
    await other.append([message('a'), message('b'), message('c')], 'fsync');
    await other.trim(4);
    proxy.cut();
    proxy.resume();
    await until('it begins anew behind it', () => late.floor === 4 && late.rewinds === 1);
    expect(late.shared!.tails).toMatchObject([{ records: 0, ms: 0 }]);
    await late.upToDate();
  });

  test('they know each other, and who says goodbye is gone', async () => {
    const server = await startNats();
    await knowEachOther(await startNode(server.url, ...onTwo), await startNode(server.url, ...onTwo));
  });

  test('a node that says nothing any more is gone after 60 s, and to who hears nothing after 90 s', async () => {
    const server = await startNats();
    const clock = new ManualClock();
    // its entries have the times of who wrote them, so that the test can write old ones
    const beats = (): JetStreamPartition => new JetStreamPartition({ url: server.url, name: 'beats' });
    const others = beats();
    await others.open();
    afterwards(() => others.close());
    const says = (id: string, ago: number): Promise<unknown> => {
      const said = { id, name: 'n', address: 'h:1', version: '1', since: 1, head: 5, lag: 2 };
      return others.append([{ time: clock.wall - ago, bytes: Buffer.from(JSON.stringify(said)) }]);
    };
    await says('long silent', 61_000);
    await says('late', 40_000);
    await says('of a clock that went back', -61_000);
    const nodes = new BrokerNodes({
      open: async () => beats(),
      clock,
      wall: clock,
      node: 'self',
      head: () => 7,
      lag: () => 0,
      onError: error => {
        throw error;
      },
    });
    nodes.introduce({ name: 'me', address: 'here:1', version: '2' });
    await until('it has heard', () => nodes.all.length === 2);
    expect(nodes.all).toEqual([
      { id: 'self', name: 'me', address: 'here:1', version: '2', since: clock.wall, silence: 0, head: 7, lag: 0 },
      { id: 'late', name: 'n', address: 'h:1', version: '1', since: 1, silence: 40_000, head: 5, lag: 2 },
    ]);

    // the next beat is 30 s later
    await says('young', 0);
    clock.advance(29_999);
    expect(nodes.all.map(({ id }) => id)).toEqual(['self', 'late']);
    clock.advance(1);
    await until('it has heard', () => nodes.all.some(({ id }) => id === 'young'));
    expect(nodes.all.map(({ id, silence }) => [id, silence])).toEqual([
      ['self', 0],
      ['young', 30_000],
    ]);

    // while nothing is heard all others fall silent
    await server.stop('SIGKILL');
    clock.advance(59_999);
    expect(nodes.all.map(({ id }) => id)).toEqual(['self', 'young']);
    clock.advance(1);
    expect(nodes.all.map(({ id }) => id)).toEqual(['self']);
    await server.start();
    await nodes.close();
  });

  test('what is not stored reaches the subscribers of every node, once, and not the log', async () => {
    const server = await startNats();
    const nodes = [await startNode(server.url, ...onTwo), await startNode(server.url, ...onTwo)];
    const clients = await Promise.all(nodes.map(({ port }) => SseClient.open(port, 'filter=live/%23&raw=1')));
    const bystander = await bystanderAt(server);
    const texts = Array.from({ length: 20 }, (_, i) => `m${i}`);
    for (const [i, text] of texts.entries()) {
      const path = `/v1/topics/live/${i}?durability=none`;
      const answer = await fetch(`${nodes[i % 2]!.url}${path}`, { method: 'POST', body: text });
      expect(answer.status).toBe(202);
    }
    for (const client of clients) {
      await client.count(20);
      expect(client.messages.map(({ data }) => data).sort()).toEqual(texts.toSorted());
    }
    // one channel, however many partitions
    expect(bystander.heard).toBe(20);
    const replayed = await (await fetch(`${nodes[0]!.url}/v1/log?filter=%23`)).text();
    expect(replayed).not.toContain('live/');
    for (const { url } of nodes)
      expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^tailrace_live_messages_lost_total 0$/m);
  });

  test('what a node missed is counted there, whatever went, and the channel comes back', async () => {
    const server = await startNats();
    const proxy = await startProxy(server);
    const [a, b] = [await open(server.port, 2), await open(proxy.port, 2)];
    const bystander = await bystanderAt(server);
    const heard: string[] = [];
    b.live!.listen(({ data }) => heard.push(Buffer.from(data).toString()));
    let own = 0;
    a.live!.listen(() => own++);
    let sent = 0;
    const send = (text = ''): void => a.live!.send(message('x', `${++sent} ${text}`));
    /** Another message is heard; then as many were lost as the others that were not. */
    const comesBack = async (leastLost: number): Promise<void> => {
      const before = heard.length;
      await until('it hears again', async () => {
        send();
        await new Promise(resolve => setTimeout(resolve, 10));
        return heard.length > before;
      });
      send('last');
      await until('the last has come', () => heard.includes(`${sent} last`));
      expect(b.live!.lost).toBe(sent - heard.length);
      expect(b.live!.lost).toBeGreaterThanOrEqual(leastLost);
    };
    await comesBack(0);
    expect(b.live!.lost).toBe(0);

    proxy.stall();
    const before = bystander.heard;
    for (let i = 0; i < 3; i++) send();
    await until('the server has passed them on', () => bystander.heard === before + 3);
    proxy.cut();
    proxy.resume();
    await comesBack(3);

    await server.stop('SIGKILL');
    for (let i = 0; i < 4; i++) send();
    await server.start();
    await comesBack(7);

    // more than the server takes in one message
    send('x'.repeat(2_000_000));
    await comesBack(8);
    expect([own, a.live!.lost]).toEqual([0, 0]);
  });

  test('a server that does not let it listen is told of by name', async () => {
    const permissions = 'permissions: { subscribe: { deny: ["tailrace.live"] } }';
    const server = await startNats(`authorization { users: [{ user: u, password: p, ${permissions} }] }`);
    const reports: string[] = [];
    const log = await openNatsPartitions({
      url: `nats://u:p@127.0.0.1:${server.port}`,
      synced: true,
      partitions: 1,
      onReport: ({ kind, message }) => reports.push(`${kind}: ${message}`),
    });
    afterwards(() => log.close());
    await until('it is told', () => reports.length > 0);
    expect(reports).toEqual([
      expect.stringMatching(/^engine_error: NATS does not let this server listen to tailrace.live/),
    ]);
    log.live!.send(message('x'));
    await log.append([message('x')], 'fsync');
  });

  test('each tells how far its tails are behind', async () => {
    const server = await startNats();
    const node = await startNode(server.url, ...onTwo);
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    const lags = metrics.split('\n').filter(line => line.startsWith('tailrace_tail_lag_records{'));
    expect(lags).toEqual([0, 1].map(p => `tailrace_tail_lag_records{partition="${p}"} 0`));
  });
});
