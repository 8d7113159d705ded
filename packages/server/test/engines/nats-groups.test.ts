import { afterAll, beforeAll } from 'vitest';
import { openNatsLog } from '../../src/engines/nats/nats-log.ts';
import { groupContract } from './group-contract.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

withNats('groups in NATS', () => {
  let server: NatsServer;
  let made = 0;

  beforeAll(async () => {
    server = await NatsServer.start();
  });

  afterAll(() => server.stop());

  groupContract('groups in NATS', {
    async open(clock, count) {
      const name = `log-${++made}`;
      const options = { url: server.url, name, synced: true, clock, groups: { clock, checkpointBytes: 2000 } };
      const logs = await Promise.all(Array.from({ length: count }, () => openNatsLog(options)));
      return logs.map(log => ({ log, groups: log.groups }));
    },
  });
});
