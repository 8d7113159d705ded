import { afterAll, beforeAll } from 'vitest';
import { openKafkaLog, openKafkaPartitions } from '../../src/engines/kafka/kafka-log.ts';
import { type GroupSubject, groupContract } from './group-contract.ts';
import { groupHistories } from './group-histories.ts';
import { groupsOfPartitions } from './groups-of-partitions.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

// checkpoints follow one another, which no node may notice
const checkpointBytes = 2000;

withKafka('groups in Kafka', () => {
  let server: KafkaServer;
  let made = 0;

  beforeAll(async () => {
    server = await KafkaServer.start();
  });

  afterAll(() => server.stop('SIGKILL'));

  const subject: GroupSubject = {
    async open(clock, count) {
      const name = `log-${++made}`;
      const options = { url: server.url, name, clock, groups: { clock, checkpointBytes } };
      const logs = await Promise.all(Array.from({ length: count }, () => openKafkaLog(options)));
      return logs.map(log => ({ log, groups: log.groups }));
    },
  };

  groupContract('groups in Kafka', subject);
  groupHistories(subject, 12);
  groupsOfPartitions((clock, partitions) => {
    const name = `log-${++made}`;
    const options = { url: server.url, name, partitions, clock, groups: { clock, checkpointBytes } };
    return Promise.all([openKafkaPartitions(options), openKafkaPartitions(options)]);
  });
});
