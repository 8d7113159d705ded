import { afterAll, beforeAll } from 'vitest';
import { openNatsLog } from '../../src/engines/nats/nats-log.ts';
import { brokerContract } from './broker-contract.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

withNats('the log in NATS', () => {
  let server: NatsServer;

  beforeAll(async () => {
    server = await NatsServer.start();
  });

  afterAll(() => server.stop());

  brokerContract('NATS', options => openNatsLog({ ...options, url: server.url, synced: true }));
});
