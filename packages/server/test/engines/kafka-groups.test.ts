import { afterAll, beforeAll } from 'vitest';
import { openKafkaLog } from '../../src/engines/kafka/kafka-log.ts';
import { groupContract } from './group-contract.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

withKafka('groups in Kafka', () => {
  let server: KafkaServer;
  let made = 0;

  beforeAll(async () => {
    server = await KafkaServer.start();
  });

  afterAll(() => server.stop('SIGKILL'));

  groupContract('groups in Kafka', {
    async open(clock, count) {
      const options = { url: server.url, name: `log-${++made}`, clock, groups: { clock, checkpointBytes: 2000 } };
      const logs = await Promise.all(Array.from({ length: count }, () => openKafkaLog(options)));
      return logs.map(log => ({ log, groups: log.groups }));
    },
  });
});
