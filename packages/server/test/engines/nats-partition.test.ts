import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, beforeAll } from 'vitest';
import { JetStreamPartition } from '../../src/engines/nats/jetstream-partition.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { NatsServer } from './nats-server.ts';
import { partitionContract } from './partition-contract.ts';
import { withNats } from './with-nats.ts';

withNats('a partition in JetStream', () => {
  let server: NatsServer;

  beforeAll(async () => {
    server = await NatsServer.start();
  });

  afterAll(() => server.stop());

  partitionContract('JetStream', {
    client: (name, proxy) =>
      new JetStreamPartition({
        url: proxy === undefined ? server.url : `nats://127.0.0.1:${proxy.port}`,
        name,
      }),
    startProxy: () => FaultyProxy.start(server.port),
    async delete(name) {
      const client = await server.client();
      const { streams } = await jetstreamManager(client);
      await streams.delete(`${name}-0`);
      await client.close();
    },
  });
});
