import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CliProcess, runCli } from '../cli/cli-process.ts';
import { Served } from '../cli/served.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { until } from '../log/messages.ts';
import { afterwards, startNode, startProxy, startRedis } from './for-one-test.ts';
import { withRedis } from './with-redis.ts';

async function publishAll(node: Served, topic: string, texts: readonly string[]): Promise<void> {
  for (const [i, text] of texts.entries())
    for (;;) {
      const answer = await fetch(`${node.url}/v1/topics/${topic}?id=${topic}-${text}-${i}`, {
        method: 'POST',
        body: text,
      }).catch(() => undefined);
      if (answer?.ok) break;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
}

const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i}`);

function dataOf(client: SseClient): string[] {
  return client.messages.map(({ data }) => data!);
}

withRedis('two servers on one Redis', () => {
  test('what is published on one node is received on the other, and a client resumes on any', async () => {
    const redis = await startRedis();
    const [a, b] = [await startNode(redis.url), await startNode(redis.url)];
    const first = await SseClient.open(b.port, 'filter=chat/%2B&raw=1&from=earliest');
    await publishAll(a, 'chat/7', numbered(50));
    await first.count(50);
    expect(dataOf(first)).toEqual(numbered(50));
    const at = first.lastId!;
    first.raw.destroy();
    await publishAll(b, 'chat/7', ['between']);
    const second = await SseClient.open(a.port, 'filter=chat/%2B&raw=1', { 'last-event-id': at });
    await publishAll(b, 'chat/8', ['after']);
    await second.count(2);
    expect(dataOf(second)).toEqual(['between', 'after']);
    expect(second.notices('subscribed')[0]).toMatchObject({ recovered: true });
  });

  test('a node that is killed loses nothing: its clients go on at the other', async () => {
    const redis = await startRedis();
    const [a, b] = [await startNode(redis.url), await startNode(redis.url)];
    const client = await SseClient.open(a.port, 'filter=x&raw=1&from=earliest');
    const publishing = publishAll(b, 'x', numbered(200));
    await client.count(20);
    await a.kill('SIGKILL');
    await client.raw.over();
    const got = dataOf(client);
    const moved = await SseClient.open(b.port, 'filter=x&raw=1', { 'last-event-id': client.lastId! });
    await publishing;
    await moved.count(200 - got.length);
    expect([...got, ...dataOf(moved)]).toEqual(numbered(200));
  });

  test('while Redis is away subscribers stay and history is served; afterwards everything is there once', async () => {
    const redis = await startRedis();
    const node = await startNode(redis.url);
    const client = await SseClient.open(node.port, 'filter=x&raw=1');
    await publishAll(node, 'x', numbered(10));
    await client.count(10);
    await redis.stop('SIGKILL');
    const history = await SseClient.open(node.port, 'filter=x&raw=1&from=earliest');
    await history.count(10);
    const waiting = publishAll(node, 'x', ['later']);
    await new Promise(resolve => setTimeout(resolve, 500));
    await redis.start();
    await waiting;
    await client.count(11);
    await history.count(11);
    expect(dataOf(client)).toEqual([...numbered(10), 'later']);
    expect(client.raw.ended).toBe(false);
  });

  test('what is not stored reaches the subscribers of every node, once', async () => {
    const redis = await startRedis();
    const [a, b] = [await startNode(redis.url), await startNode(redis.url)];
    const clients = [
      await SseClient.open(a.port, 'filter=live/%23&raw=1'),
      await SseClient.open(b.port, 'filter=live/%23&raw=1'),
    ];
    const passOn = async (node: Served, text: string): Promise<void> => {
      const answer = await fetch(`${node.url}/v1/topics/live/x?durability=none`, { method: 'POST', body: text });
      expect(answer.status).toBe(202);
    };
    for (const text of numbered(20)) await passOn(text.endsWith('1') ? b : a, text);
    for (const client of clients) {
      await client.count(20);
      expect(dataOf(client).sort()).toEqual(numbered(20).sort());
    }
    const replayed = await (await fetch(`${a.url}/v1/log?filter=%23`)).text();
    expect(replayed).not.toContain('live/x');

    // while the channel is down what is sent is lost, and counted at who missed it
    const admin = redis.client();
    afterwards(async () => admin.disconnect());
    const lostAt = async (node: Served): Promise<number> => {
      const metrics = await (await fetch(`${node.url}/metrics`)).text();
      return Number(/^tailrace_live_messages_lost_total (\d+)/m.exec(metrics)![1]);
    };
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await passOn(a, 'while it was away');
    let sent = 1;
    await until('it is back, and knows what it missed', async () => {
      await passOn(a, `again ${sent++}`);
      return dataOf(clients[1]!).some(text => text.startsWith('again'));
    });
    await passOn(a, 'last');
    await until('the last has come', () => dataOf(clients[1]!).includes('last'));
    const missed = 20 + sent + 1 - clients[1]!.messages.length;
    expect(await lostAt(b)).toBe(missed);
    expect(await lostAt(a)).toBe(0);
  });

  test('a server that hangs is noticed: publishes are refused at once, and taken again when it is back', async () => {
    const redis = await startRedis();
    const node = await startNode(redis.url);
    const client = await SseClient.open(node.port, 'filter=x&raw=1');
    await publishAll(node, 'x', numbered(3));
    redis.signal('SIGSTOP');
    const ready = async (): Promise<number> => (await fetch(`${node.url}/readyz`)).status;
    await until('it is noticed', async () => (await ready()) === 503, 40_000);
    const refused = await fetch(`${node.url}/v1/topics/x`, { method: 'POST', body: '1' });
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    expect(await refused.json()).toMatchObject({ code: 'engine_unavailable', outcome: 'none', retry: 'later' });
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    expect(metrics).toMatch(/tailrace_engine_state\{state="isolated"\} 1/);
    const history = await SseClient.open(node.port, 'filter=x&raw=1&from=earliest');
    await history.count(3);
    redis.signal('SIGCONT');
    await until('it is noticed', async () => (await ready()) === 200, 40_000);
    await publishAll(node, 'x', ['later']);
    await client.count(4);
    expect(dataOf(client)).toEqual([...numbered(3), 'later']);
  }, 90_000);

  test('clients who saw records that a failover lost come back and are told', async () => {
    const primary = await startRedis();
    const link = await startProxy(primary);
    const replica = await startRedis('--replicaof', '127.0.0.1', String(link.port));
    const proxy = await startProxy(primary);
    const node = await startNode(proxy.url);
    const admin = replica.client();
    afterwards(async () => admin.disconnect());
    await publishAll(node, 'x', numbered(5));
    await until('the replica has them', async () => (await admin.xlen('{tailrace}:log')) === 5);
    const client = await SseClient.open(node.port, 'filter=x&raw=1');
    link.stall();
    await publishAll(node, 'x', ['lost']);
    await client.count(1);
    const seen = client.lastId!;
    const polled = fetch(`${node.url}/v1/poll?filter=x&cursor=${seen}&wait=20000`);

    await primary.stop('SIGKILL');
    link.cut();
    await admin.replicaof('NO', 'ONE');
    proxy.target = replica.port;
    proxy.cut();

    await client.raw.over();
    const poll = await polled;
    expect([poll.status, await poll.json()]).toMatchObject([503, { code: 'log_rewound', retry: 'later' }]);
    const again = await SseClient.open(node.port, 'filter=x&raw=1', { 'last-event-id': seen });
    expect(await again.notice('reset')).toMatchObject({ reason: 'epoch' });
    await publishAll(node, 'x', ['goes on']);
    await again.count(1);
    expect(dataOf(again)).toEqual(['goes on']);
    expect(again.notices('subscribed')[0]).toMatchObject({ recovered: false });
  });

  test('a server that keeps less than durability promises is refused, and so is what it cannot do', async () => {
    const redis = await startRedis('--appendfsync', 'everysec');
    const refused = await runCli(['serve', '--port', '0', '--engine', redis.url]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /Redis at redis:\/\/127\.0\.0\.1:\d+ does not serve it: durability is fsync, and it keeps no more than written: set appendfsync always there, or durability written here/,
    );
    await using served = await Served.start(['--engine', redis.url, '--durability', 'written']);
    const { durabilities } = (await (await fetch(`${served.url}/v1`)).json()) as { durabilities: string[] };
    expect(durabilities).toEqual(['written', 'none']);
    const asked = await fetch(`${served.url}/v1/topics/x?durability=fsync`, { method: 'POST', body: '1' });
    expect([asked.status, ((await asked.json()) as { code: string }).code]).toEqual([400, 'durability_unsupported']);
    await using cli = new CliProcess(['serve', '--port', '0', '--engine', 'redis://nobody:secret@127.0.0.1:1']);
    expect(await cli.ended()).toBe(1);
    expect(cli.stderr).toMatch(/Redis at redis:\/\/127\.0\.0\.1:1 does not serve it: connect ECONNREFUSED/);
    expect(cli.stderr).not.toContain('secret');
  });

  test('topics with a spool are taken while Redis hangs, and come once, in order, when it is back', async () => {
    const redis = await startRedis();
    const directory = mkdtempSync(join(tmpdir(), 'tailrace-spool-'));
    afterwards(async () => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, 'tailrace.yaml');
    writeFileSync(file, 'rules:\n  - filter: orders/#\n    spool: true\n');
    const node = await Served.start(['--config', file, '--engine', redis.url, '--log.level', 'error']);
    afterwards(() => node[Symbol.asyncDispose]());
    const client = await SseClient.open(node.port, 'filter=%23&raw=1');
    await publishAll(node, 'orders/1', ['before']);
    redis.signal('SIGSTOP');
    await until('it is noticed', async () => (await fetch(`${node.url}/readyz`)).status === 503, 40_000);
    for (const text of numbered(30)) {
      const answer = await fetch(`${node.url}/v1/topics/orders/1?id=${text}`, { method: 'POST', body: text });
      expect([answer.status, await answer.json()]).toEqual([202, { spooled: true }]);
    }
    const other = await fetch(`${node.url}/v1/topics/else`, { method: 'POST', body: '1' });
    expect(other.status).toBe(503);
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    expect(metrics).toMatch(/tailrace_spool_messages 30/);
    // what waits is on the disk of this node
    await node.kill('SIGKILL');
    redis.signal('SIGCONT');
    await node.startAgain();
    const after = await SseClient.open(node.port, 'filter=orders/%23&raw=1', { 'last-event-id': client.lastId! });
    await after.count(30);
    expect(dataOf(after)).toEqual(numbered(30));
    const again = await fetch(`${node.url}/v1/topics/orders/1?id=m7`, { method: 'POST', body: 'm7' });
    expect([again.status, await again.json()]).toMatchObject([200, { duplicate: true }]);
  }, 90_000);
});
