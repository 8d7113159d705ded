import { Admin } from '@platformatic/kafka';
import { expect, test } from 'vitest';
import { openKafkaLog } from '../../src/engines/kafka/kafka-log.ts';
import { afterwards, opened } from './for-one-test.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

withKafka('a start on Kafka that is refused', () => {
  test('leaves no topic behind', async () => {
    const server = await KafkaServer.start({ properties: { 'log.flush.interval.messages': '1000' } });
    afterwards(() => server.stop('SIGKILL'));
    const admin = new Admin({ clientId: 'operator', bootstrapBrokers: [{ host: '127.0.0.1', port: server.port }] });
    afterwards(() => admin.close());
    await expect(openKafkaLog({ url: server.url, durability: 'fsync' })).rejects.toThrow(
      /durability is fsync, and topic tailrace keeps no more than written/,
    );
    await expect(openKafkaLog({ url: server.url, replicas: 3 })).rejects.toThrow(
      /cannot be made: .*replication factor/i,
    );
    expect(await admin.listTopics()).toEqual([]);
    await opened(openKafkaLog({ url: server.url, durability: 'written' }));
    expect(await admin.listTopics()).toEqual(['tailrace']);
  }, 60_000);
});
