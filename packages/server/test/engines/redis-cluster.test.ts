import type { Message } from '@tailrace/protocol';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRedisLog, type RedisLog } from '../../src/engines/redis/redis-log.ts';
import { runCli } from '../cli/cli-process.ts';
import { freePort, Served } from '../cli/served.ts';
import { message, offsetOf, readAllOf, until } from '../log/messages.ts';
import { RedisCluster } from './redis-cluster.ts';
import { RedisServer } from './redis-server.ts';
import { withRedis } from './with-redis.ts';

withRedis('a log in a Redis Cluster', () => {
  const cleanup: (() => Promise<unknown>)[] = [];
  let cluster: RedisCluster;
  let a: RedisLog;
  let b: RedisLog;

  beforeEach(async () => {
    cluster = await RedisCluster.start();
    cleanup.push(() => cluster.stop());
    a = await open();
    b = await open();
  }, 30_000);

  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
  });

  async function open(): Promise<RedisLog> {
    const log = await openRedisLog({ url: cluster.url });
    cleanup.push(() => log.close());
    return log;
  }

  let appended: string[] = [];
  let publishing = true;
  /** The next append waits; and whether it does. */
  let pausing = false;
  let waits = false;

  /** Appends one after the other, by turns on both nodes, each again by its id until it is acked. */
  async function publish(): Promise<void> {
    appended = [];
    for (let i = 0; publishing; i++) {
      waits = pausing;
      await until('it goes on', () => !pausing);
      const one: Message = message(`t/${i % 5}`, `m${i}`, { id: `m${i}` });
      for (;;) {
        const results = await (i % 2 === 0 ? a : b).append([one], 'fsync').catch(() => undefined);
        if (results === undefined) continue;
        offsetOf(results[0]);
        break;
      }
      appended.push(`m${i}`);
      await new Promise(resolve => setTimeout(resolve, 2));
    }
  }

  /** Runs a fault while both nodes append; both go on afterwards, and the tail of each has each record once. */
  async function whilePublishing(fault: () => Promise<unknown>): Promise<void> {
    const tails = [a, b].map(log => {
      const seen: number[] = [];
      log.tail({
        onCommit: batch => {
          for (let i = 0; i < batch.count; i++) seen.push(batch.offsetAt(i));
        },
      });
      return seen;
    });
    publishing = true;
    const published = publish();
    await until('it has begun', () => appended.length > 50);
    await fault();
    const during = appended.length;
    await until('it goes on', () => appended.length > during + 100);
    publishing = false;
    await published;
    await until('all has come', () => a.head.offset === b.head.offset && a.head.offset >= appended.length);
    for (const log of [a, b]) {
      const data = (await readAllOf(log, ['#'], 0, log.head.offset, 1e6)).map(record =>
        Buffer.from(record.data).toString(),
      );
      expect(data).toEqual(appended);
      expect(log.rewinds).toBe(0);
    }
    for (const seen of tails) expect(seen).toEqual(appended.map((_, i) => i + 1));
  }

  async function passedOn(text: string): Promise<void> {
    const heard: string[] = [];
    const stop = b.live.listen(({ data }) => heard.push(Buffer.from(data).toString()));
    await until('it is heard', async () => {
      a.live.send(message('live', text));
      await new Promise(resolve => setTimeout(resolve, 20));
      return heard.includes(text);
    });
    stop();
  }

  test('is found from any node, and carries records, messages of class none, groups and nodes', async () => {
    await a.append([message('job/1', 'one'), message('job/2', 'two')], 'fsync');
    await until('b has them', () => b.head.offset === 2);
    await passedOn('hello');
    const [work, there] = await Promise.all(
      [a, b].map(log => log.groups.open('work', { filters: ['job/#'], after: 0 })),
    );
    const { deliveries } = await work!.claim('ann', 1);
    expect(deliveries).toMatchObject([{ offset: 1 }]);
    expect((await there!.claim('bob', 5)).deliveries).toMatchObject([{ offset: 2 }]);
    expect(await there!.ack('ann', deliveries)).toEqual([true]);
    for (const log of [a, b]) log.shared.nodes.introduce({ name: 'n', address: '', version: '1' });
    await until('a knows b', () => {
      a.shared.nodes.introduce({ name: 'n', address: '', version: '1' });
      return a.shared.nodes.all.length === 2;
    });
    // all of it is where the slot is
    expect(await cluster.owner.client.call('CLUSTER', 'COUNTKEYSINSLOT', cluster.slot)).toBeGreaterThan(5);
    for (const { client } of cluster.others) expect(await client.dbsize()).toBe(0);
  }, 30_000);

  test('is what a server with such an engine serves', async () => {
    await using served = await Served.start(['--engine', cluster.url, '--log.level', 'error']);
    const answer = await fetch(`${served.url}/v1/topics/x`, { method: 'POST', body: '1' });
    expect([answer.status, a.head.offset]).toEqual([200, 1]);
    expect((await runCli(['serve', '--port', '0', '--engine', `${cluster.url}/1`])).stderr).toMatch(
      /a Redis Cluster has no databases/,
    );
  }, 30_000);

  test('goes on when its node fails and the replica is promoted', async () => {
    await whilePublishing(async () => {
      pausing = true;
      await until('the replica has all', async () => waits && (await cluster.replicated()));
      await cluster.owner.server.stop('SIGKILL');
      pausing = false;
      await until('the replica is the primary', async () =>
        (await cluster.replica.client.info('replication')).includes('role:master'),
      );
    });
    await passedOn('after');
  }, 60_000);

  test('goes on when its node hangs and the replica is promoted', async () => {
    await whilePublishing(async () => {
      pausing = true;
      await until('the replica has all', async () => waits && (await cluster.replicated()));
      cluster.owner.server.signal('SIGSTOP');
      pausing = false;
      await until('the replica is the primary', async () =>
        (await cluster.replica.client.info('replication')).includes('role:master'),
      );
      cluster.owner.server.signal('SIGCONT');
    });
    await passedOn('after');
  }, 60_000);

  test('goes on when a replica takes over by request, and the old primary is its replica', async () => {
    const group = await a.groups.open('work', { filters: ['t/#'], after: 0, ackDeadline: 60_000 });
    await whilePublishing(async () => {
      await cluster.replica.client.call('CLUSTER', 'FAILOVER');
      await until('the old one follows', async () =>
        (await cluster.owner.client.info('replication')).includes('role:slave'),
      );
    });
    await passedOn('after');
    expect(await cluster.owner.client.info('replication')).toContain('role:slave');
    const { deliveries } = await group.claim('ann', 3);
    await cluster.owner.client.call('CLUSTER', 'FAILOVER');
    await until('it is the primary again', async () =>
      (await cluster.owner.client.info('replication')).includes('role:master'),
    );
    expect(await group.ack('ann', deliveries)).toEqual([true, true, true]);
    expect((await group.claim('ann', 2)).deliveries).toMatchObject([{ offset: 4 }, { offset: 5 }]);
  }, 60_000);

  test('takes no append while half of it is on another node', async () => {
    // there is something of all that it can keep
    await a.append([message('gone')], 'fsync');
    await a.deleteTopic('gone');
    await a.append(
      [
        message('over', 'last', { end: true, id: 'over' }),
        message('table', 'row', { key: 'k' }),
        message('x', 'one', { producer: 'p', sequence: 1 }),
      ],
      'fsync',
    );
    const [other] = cluster.others;
    const waiting: Promise<unknown>[] = [];
    await cluster.move(cluster.owner, other!, /producers:p/, async () => {
      const more = [message('x', 'two'), message('x', 'again', { producer: 'p', sequence: 1 })];
      waiting.push(a.append(more, 'fsync'));
      await expect(
        Promise.race([waiting[0], new Promise((_, reject) => setTimeout(reject, 500, 'waits'))]),
      ).rejects.toBe('waits');
    });
    expect(await waiting[0]).toMatchObject([
      { offset: 5, duplicate: false },
      { offset: 4, duplicate: true },
    ]);
    expect((await a.append([message('x', 'three')], 'fsync')).map(offsetOf)).toEqual([6]);
  }, 60_000);

  test('goes on when its slot moves to another node, and back', async () => {
    const [other] = cluster.others;
    await whilePublishing(() => cluster.move(cluster.owner, other!));
    expect(await other!.client.call('CLUSTER', 'COUNTKEYSINSLOT', cluster.slot)).toBeGreaterThan(3);
    await passedOn('after');
    await cluster.move(other!, cluster.owner);
    await a.append([message('x', 'back')], 'fsync');
    await until('b has it', () => b.head.offset === a.head.offset);
    await passedOn('back');
  }, 60_000);
});

withRedis('a Redis Cluster of one node', () => {
  test("takes its password from the url, and is told when a slot is nobody's", async () => {
    const server = await RedisServer.start(
      ...['--cluster-enabled', 'yes', '--cluster-port', String(await freePort()), '--cluster-announce-ip', '127.0.0.1'],
      ...['--requirepass', 'p@ss'],
    );
    const admin = new Redis({ port: server.port, password: 'p@ss' });
    try {
      await admin.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
      await until('it serves', async () => String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok'));
      const at = `127.0.0.1:${server.port}`;
      // one of the nodes it names is not there
      const log = await openRedisLog({ url: `redis+cluster://default:p%40ss@127.0.0.1:1,${at}` });
      expect((await log.append([message('a')], 'fsync')).map(offsetOf)).toEqual([1]);
      await log.close();
      await expect(openRedisLog({ url: `redis+cluster://${at}`, startTimeout: 1000 })).rejects.toThrow(
        /does not serve it: 127\.0\.0\.1:\d+: NOAUTH/,
      );
      await admin.call('CLUSTER', 'DELSLOTS', Number(await admin.call('CLUSTER', 'KEYSLOT', '{tailrace}')));
      await expect(openRedisLog({ url: `redis+cluster://default:p%40ss@${at}`, startTimeout: 1000 })).rejects.toThrow(
        /no node of the cluster has slot \d+, that of \{tailrace\}:log/,
      );
    } finally {
      admin.disconnect();
      await server.stop('SIGKILL');
    }
  });
});
