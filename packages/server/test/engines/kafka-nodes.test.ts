import { filterSet } from '@tailrace/protocol';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { openKafkaPartitions } from '../../src/engines/kafka/kafka-log.ts';
import { Served } from '../cli/served.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { message, until } from '../log/messages.ts';
import { KafkaServer } from './kafka-server.ts';
import { knowEachOther } from './known-nodes.ts';
import { withKafka } from './with-kafka.ts';

withKafka('servers on one Kafka', () => {
  let kafka: KafkaServer;
  const cleanup: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    kafka = await KafkaServer.start();
  });

  afterAll(() => kafka.stop('SIGKILL'));

  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
  });

  async function startNode(name: string, partitions: number): Promise<Served> {
    const settings = ['--engine', kafka.url, '--kafka.name', name, '--kafka.partitions', String(partitions)];
    const served = await Served.start([...settings, '--log.level', 'error']);
    cleanup.push(() => served[Symbol.asyncDispose]());
    return served;
  }

  async function publish(node: Served, topic: string, text: string): Promise<void> {
    const answer = await fetch(`${node.url}/v1/topics/${topic}?id=${text}`, { method: 'POST', body: text });
    expect(answer.status).toBe(200);
  }

  const textsOf = (client: SseClient): string[] => client.messages.map(({ data }) => data!);

  for (const partitions of [1, 3])
    test(`what one publishes the other delivers, and a client resumes on any (partitions: ${partitions})`, async () => {
      const name = `nodes-${partitions}`;
      const [a, b] = [await startNode(name, partitions), await startNode(name, partitions)];
      const first = await SseClient.open(b.port, 'filter=chat/%2B&raw=1&from=earliest');
      const texts = Array.from({ length: 60 }, (_, i) => `m${i}`);
      for (const [i, text] of texts.entries()) await publish(i % 2 === 0 ? a : b, `chat/${i % 5}`, text);
      await first.count(60);
      expect(textsOf(first).sort()).toEqual(texts.sort());
      const at = first.lastId!;
      first.raw.destroy();
      await publish(b, 'chat/1', 'between');
      const second = await SseClient.open(a.port, 'filter=chat/%2B&raw=1', { 'last-event-id': at });
      await publish(b, 'chat/1', 'after');
      await second.count(2);
      expect(textsOf(second)).toEqual(['between', 'after']);
      expect(second.notices('subscribed')[0]).toMatchObject({ recovered: true });
      const refused = await fetch(`${a.url}/v1/topics/chat/1`, { method: 'DELETE' });
      expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([400, 'unsupported']);
      const metrics = await (await fetch(`${a.url}/metrics`)).text();
      const lags = metrics.split('\n').filter(line => line.startsWith('tailrace_tail_lag_records{'));
      expect(lags).toEqual(
        Array.from({ length: partitions }, (_, p) => `tailrace_tail_lag_records{partition="${p}"} 0`),
      );
      await knowEachOther(a, b);
    });

  test('topics are spread over partitions, and each has its order; another number of them is refused', async () => {
    const options = { url: kafka.url, name: 'spread', partitions: 4 };
    const logs = [await openKafkaPartitions(options), await openKafkaPartitions(options)];
    cleanup.push(() => Promise.all(logs.map(log => log.close())));
    await Promise.all(
      Array.from({ length: 400 }, (_, i) =>
        logs[i % 2]!.append([message(`t/${i % 20}`, `${i}`, { id: `${i}` })], 'fsync'),
      ),
    );
    for (const log of logs) {
      await log.upToDate();
      const seen = (i: number): number => log.hot.newest(`t/${i}`, 1000, Number.POSITIVE_INFINITY).length;
      await until('all have come', () => Array.from({ length: 20 }, (_, i) => seen(i)).every(count => count === 20));
      expect((await log.topics('t/', '', 100)).length).toBe(20);
      expect((await log.newest(filterSet(['t/#']), 1, log.head.offset)).length).toBe(20);
    }
    await expect(openKafkaPartitions({ ...options, partitions: 2 })).rejects.toThrow(/has 4 partitions and not 2/);
  });
});
