import { afterAll, beforeAll } from 'vitest';
import { openKafkaLog } from '../../src/engines/kafka/kafka-log.ts';
import { brokerContract } from './broker-contract.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

withKafka('the log in Kafka', () => {
  let server: KafkaServer;

  beforeAll(async () => {
    server = await KafkaServer.start();
  });

  afterAll(() => server.stop());

  brokerContract('Kafka', options => openKafkaLog({ ...options, url: server.url }));
});
