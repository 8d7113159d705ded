import { afterAll, beforeAll } from 'vitest';
import { openNatsLog, openNatsPartitions } from '../../src/engines/nats/nats-log.ts';
import { type GroupSubject, groupContract } from './group-contract.ts';
import { groupHistories } from './group-histories.ts';
import { groupsOfPartitions } from './groups-of-partitions.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

// checkpoints follow one another, which no node may notice
const checkpointBytes = 2000;

withNats('groups in NATS', () => {
  let server: NatsServer;
  let made = 0;

  beforeAll(async () => {
    server = await NatsServer.start();
  });

  afterAll(() => server.stop('SIGKILL'));

  const subject: GroupSubject = {
    async open(clock, count) {
      const name = `log-${++made}`;
      const options = { url: server.url, name, synced: true, clock, groups: { clock, checkpointBytes } };
      const logs = await Promise.all(Array.from({ length: count }, () => openNatsLog(options)));
      return logs.map(log => ({ log, groups: log.groups }));
    },
  };

  groupContract('groups in NATS', subject);
  groupHistories(subject, 12);
  groupsOfPartitions((clock, partitions) => {
    const name = `log-${++made}`;
    const options = { url: server.url, name, partitions, synced: true, clock, groups: { clock, checkpointBytes } };
    return Promise.all([openNatsPartitions(options), openNatsPartitions(options)]);
  });
});
