import { afterEach, describe, expect, test } from 'vitest';
import { readAddress } from '../../src/engines/kafka/address.ts';
import { KafkaCluster } from '../../src/engines/kafka/cluster.ts';
import { openKafkaLog } from '../../src/engines/kafka/kafka-log.ts';
import { openRedisLog } from '../../src/engines/redis/redis-log.ts';
import type { Log } from '../../src/log/log.ts';
import { message, offsetOf, readAllOf, until } from '../log/messages.ts';
import { KafkaAdmin } from './kafka-admin.ts';
import { KafkaServer } from './kafka-server.ts';
import { RedisServer } from './redis-server.ts';
import { canStep, SteppedClock } from './stepped-clock.ts';
import { withKafka } from './with-kafka.ts';
import { withRedis } from './with-redis.ts';

const cleanup: (() => Promise<unknown>)[] = [];
const hour = 3600;

afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step();
});

/** What time it is for the broker: that of a topic which says when it was written to. */
async function timeOf(cluster: KafkaCluster, topic: string): Promise<number> {
  const { leader } = await cluster.place(topic, 0);
  const messages = [{ topic, partition: 0, value: Buffer.from('x') }];
  const connection = await cluster.writer.connect(leader);
  const answer = await cluster.writer.ask<Produced>(connection, 'Produce', () => [-1, 1000, messages, {}]);
  return Number(answer.responses[0]!.partitionResponses[0]!.logAppendTimeMs);
}

interface Produced {
  readonly responses: readonly { readonly partitionResponses: readonly { readonly logAppendTimeMs: bigint }[] }[];
}

/** Two nodes publish while the clock of their broker goes an hour forward, two back, and is right again. */
async function survives(
  nodes: readonly Log[],
  clock: SteppedClock,
  onStep: (seconds: number) => Promise<void> = async () => {},
): Promise<readonly number[]> {
  let stopped = false;
  const acked: string[][] = nodes.map(() => []);
  const publishing = nodes.map(async (node, i) => {
    for (let n = 0; !stopped; n++) {
      const id = `${i} ${n}`;
      offsetOf((await node.append([message('t', id, { id })], 'fsync'))[0]);
      acked[i]!.push(id);
    }
  });
  const count = (): number => acked.reduce((sum, { length }) => sum + length, 0);
  const more = async (): Promise<void> => {
    const wanted = count() + 40;
    await until('more are acked', () => count() >= wanted);
  };
  await more();
  for (const seconds of [hour, -hour, 0]) {
    clock.step(seconds);
    await onStep(seconds);
    await more();
  }
  stopped = true;
  await Promise.all(publishing);
  const newest = Math.max(...nodes.map(({ head }) => head.offset));
  await until('all nodes are at the head', () => nodes.every(({ head }) => head.offset >= newest));
  let times: number[] = [];
  for (const node of nodes) {
    expect([node.floor, node.rewinds]).toEqual([0, 0]);
    const records = await readAllOf(node, ['t'], 0, newest, 1e6);
    const texts = records.map(({ data }) => Buffer.from(data).toString());
    for (const [i, own] of acked.entries()) expect(texts.filter(text => text.startsWith(`${i} `))).toEqual(own);
    times = records.map(({ time }) => time);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  }
  return times;
}

describe.skipIf(!canStep)('a broker whose clock steps', () => {
  withRedis('Redis', () => {
    test('loses, doubles and reorders nothing; times never fall', async () => {
      const clock = new SteppedClock();
      const server = await RedisServer.startIn(clock.env);
      cleanup.push(() => server.stop('SIGKILL'));
      const nodes = await Promise.all([0, 1].map(() => openRedisLog({ url: server.url })));
      cleanup.push(() => Promise.all(nodes.map(node => node.close())));
      const times = await survives(nodes, clock);
      // while they differ the clock of Redis counts, and what it said stays said
      expect(times.at(-1)! - times[0]!).toBeGreaterThan((hour - 60) * 1000);
    });
  });

  withKafka('Kafka', () => {
    test('loses, doubles and reorders nothing; times are those of the nodes', async () => {
      const clock = new SteppedClock();
      const server = await KafkaServer.start({ env: clock.env });
      cleanup.push(() => server.stop('SIGKILL'));
      const options = { url: server.url, retention: { age: 10 * 60_000 } };
      const nodes = await Promise.all([0, 1].map(() => openKafkaLog(options)));
      cleanup.push(() => Promise.all(nodes.map(node => node.close())));
      const admin = new KafkaAdmin(server);
      await admin.create('times', { 'message.timestamp.type': 'LogAppendTime' });
      await admin.close();
      const cluster = new KafkaCluster(readAddress(server.url, 'plain'));
      cleanup.push(() => cluster.close());
      const times = await survives(nodes, clock, async seconds => {
        const difference = (await timeOf(cluster, 'times')) / 1000 - Date.now() / 1000;
        expect(Math.abs(difference - seconds)).toBeLessThan(10);
      });
      expect(times.at(-1)! - times[0]!).toBeLessThan(60_000);
    });
  });
});
