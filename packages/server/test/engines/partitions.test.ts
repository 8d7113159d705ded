import { expect, test } from 'vitest';
import { partitionOf } from '../../src/log/woven/partition-of.ts';
import { runCli } from '../cli/cli-process.ts';
import { Served } from '../cli/served.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { until } from '../log/messages.ts';
import { afterwards, startNode, startProxy, startRedis } from './for-one-test.ts';
import { withRedis } from './with-redis.ts';

const topics = Array.from({ length: 12 }, (_, i) => `room/${i}`);

/** Publishes so many to each topic, one after another of a topic, to any node that takes it. */
async function publishAll(nodes: () => readonly Served[], from: number, to: number): Promise<void> {
  await Promise.all(
    topics.map(async (topic, t) => {
      for (let i = from; i < to; i++)
        for (let attempt = 0; ; attempt++) {
          const all = nodes();
          const node = all[(t + i + attempt) % all.length]!;
          const answer = await fetch(`${node.url}/v1/topics/${topic}?id=${topic}-${i}`, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ i }),
          }).catch(() => undefined);
          if (answer?.ok) break;
          await new Promise(resolve => setTimeout(resolve, 20));
        }
    }),
  );
}

/** What came, by topic, each with the number that its publisher gave it. */
function byTopic(clients: readonly SseClient[]): Record<string, number[]> {
  const found: Record<string, number[]> = {};
  for (const client of clients) {
    // who comes back by the last cursor gets again what came behind it
    const last = client === clients.at(-1) ? client.messages.length : client.messages.findLastIndex(({ id }) => id) + 1;
    for (const { data } of client.messages.slice(0, last)) {
      const { topic, data: payload } = JSON.parse(data!) as { topic: string; data: { i: number } };
      (found[topic] ??= []).push(payload.i);
    }
  }
  return found;
}

const each = (to: number): Record<string, number[]> =>
  Object.fromEntries(topics.map(topic => [topic, Array.from({ length: to }, (_, i) => i)]));

withRedis('servers on a log of several partitions', () => {
  test('a client that goes from node to node while all publish gets each record once, in the order of its topic', async () => {
    const redis = await startRedis();
    const nodes = [
      await startNode(redis.url, '--redis.partitions', '4'),
      await startNode(redis.url, '--redis.partitions', '4'),
    ];
    const publishing = publishAll(() => nodes, 0, 60);
    const clients = [await SseClient.open(nodes[0]!.port, 'filter=%23&from=earliest')];
    for (let move = 1; move <= 8; move++) {
      const client = clients[clients.length - 1]!;
      await until('it has moved on', () => client.messages.length > 0);
      client.raw.destroy();
      clients.push(
        await SseClient.open(nodes[move % 2]!.port, 'filter=%23', {
          'last-event-id': client.lastId ?? clients[clients.length - 2]!.lastId!,
        }),
      );
    }
    await publishing;
    const total = topics.length * 60;
    await until('all is there', () => clients.reduce((sum, { messages }) => sum + messages.length, 0) >= total);
    expect(byTopic(clients)).toEqual(each(60));
    for (const client of clients.slice(1)) expect(client.notices('subscribed')[0]).toMatchObject({ recovered: true });
  });

  test('a node that is killed and one that is new lose nothing and double nothing', async () => {
    const redis = await startRedis();
    const killed = await startNode(redis.url, '--redis.partitions', '4');
    const stays = await startNode(redis.url, '--redis.partitions', '4');
    let nodes = [killed, stays];
    const client = await SseClient.open(killed.port, 'filter=room/%2B&from=earliest');
    const publishing = publishAll(() => nodes, 0, 80);
    await client.count(100);
    nodes = [stays];
    await killed.kill('SIGKILL');
    await client.raw.over();
    const fresh = await startNode(redis.url, '--redis.partitions', '4');
    const after = await SseClient.open(fresh.port, 'filter=room/%2B', { 'last-event-id': client.lastId! });
    await publishing;
    await after.count(topics.length * 80 - client.messages.length);
    expect(byTopic([client, after])).toEqual(each(80));
    expect(after.notices('subscribed')[0]).toMatchObject({ recovered: true });
    // what is read by request is the same, and a poll goes on anywhere
    const log = await (await fetch(`${fresh.url}/v1/log?filter=room/3&from=earliest`)).text();
    expect(log.trim().split('\n')).toHaveLength(81);
    const { cursor } = JSON.parse(log.trim().split('\n').at(-1)!) as { cursor: string };
    const poll = await (await fetch(`${stays.url}/v1/poll?filter=room/3&cursor=${cursor}&wait=0`)).json();
    expect(poll).toMatchObject({ messages: [], notices: [] });
  });

  test('Redis comes back after kill -9: nothing acked is lost, nothing is doubled, subscribers stay', async () => {
    const redis = await startRedis();
    const nodes = [
      await startNode(redis.url, '--redis.partitions', '4'),
      await startNode(redis.url, '--redis.partitions', '4'),
    ];
    const client = await SseClient.open(nodes[1]!.port, 'filter=%23&from=earliest');
    const publishing = publishAll(() => nodes, 0, 40);
    await client.count(50);
    await redis.stop('SIGKILL');
    await new Promise(resolve => setTimeout(resolve, 300));
    await redis.start();
    await publishing;
    await client.count(topics.length * 40);
    expect(byTopic([client])).toEqual(each(40));
    expect(client.raw.ended).toBe(false);
  });

  test('clients who saw records of a partition that a failover lost come back and are told', async () => {
    const primary = await startRedis();
    const link = await startProxy(primary);
    const replica = await startRedis('--replicaof', '127.0.0.1', String(link.port));
    const proxy = await startProxy(primary);
    const node = await startNode(proxy.url, '--redis.partitions', '4');
    const admin = replica.client();
    afterwards(async () => admin.disconnect());
    await publishAll(() => [node], 0, 3);
    await until('the replica has them', async () => {
      const lengths = await Promise.all([0, 1, 2, 3].map(p => admin.xlen(`{tailrace/${p}}:log`)));
      return lengths.reduce((sum, length) => sum + length, 0) === topics.length * 3;
    });
    const client = await SseClient.open(node.port, 'filter=%23');
    link.stall();
    await fetch(`${node.url}/v1/topics/room/1`, { method: 'POST', body: '{"i":"lost"}' });
    await client.count(1);
    const seen = client.lastId!;
    await primary.stop('SIGKILL');
    link.cut();
    await admin.replicaof('NO', 'ONE');
    proxy.target = replica.port;
    proxy.cut();
    await client.raw.over();
    const again = await SseClient.open(node.port, 'filter=%23', { 'last-event-id': seen });
    expect(await again.notice('reset')).toMatchObject({ reason: 'epoch' });
    await publishAll(() => [node], 3, 5);
    await again.count(topics.length * 2);
    expect(byTopic([again])).toEqual(Object.fromEntries(topics.map(topic => [topic, [3, 4]])));
  });

  test('one connection of a node follows all partitions', async () => {
    const redis = await startRedis();
    const node = await startNode(redis.url, '--redis.partitions', '4');
    await publishAll(() => [node], 0, 3);
    const admin = redis.client();
    afterwards(async () => admin.disconnect());
    const clients = ((await admin.client('LIST')) as string).split('\n');
    expect(clients.filter(client => client.includes(' cmd=xread '))).toHaveLength(1);
  });

  test('a stream that somebody overwrote does not stop the others', async () => {
    const redis = await startRedis();
    const node = await startNode(redis.url, '--redis.partitions', '4');
    const admin = redis.client();
    afterwards(async () => admin.disconnect());
    const client = await SseClient.open(node.port, 'filter=%23');
    await admin.set('{tailrace/1}:log', 'no stream');
    const others = topics.filter(topic => partitionOf(topic, 4) !== 1);
    for (const topic of others) {
      const answer = await fetch(`${node.url}/v1/topics/${topic}`, { method: 'POST', body: '1' });
      expect(answer.status).toBe(200);
    }
    await client.count(others.length);
    // and goes on itself once that is mended
    await admin.del('{tailrace/1}:log');
    await publishAll(() => [node], 0, 1);
    await client.count(others.length + topics.length);
  });

  test('a log with another number of partitions is refused by name', async () => {
    const redis = await startRedis();
    await startNode(redis.url, '--redis.partitions', '4');
    for (const other of ['1', '3']) {
      const refused = await runCli(['serve', '--port', '0', '--engine', redis.url, '--redis.partitions', other]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(new RegExp(`has 4 partitions and not ${other}: set redis.partitions to 4`));
    }
    const single = await startRedis();
    await using _ = await Served.start(['--engine', single.url]);
    const refused = await runCli(['serve', '--port', '0', '--engine', single.url, '--redis.partitions', '2']);
    expect(refused.stderr).toMatch(/has 1 partition and not 2/);
  });
});
