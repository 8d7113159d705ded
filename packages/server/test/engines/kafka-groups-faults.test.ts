import { expect, test } from 'vitest';
import { openKafkaLog } from '../../src/engines/kafka/kafka-log.ts';
import { message, until } from '../log/messages.ts';
import { groupFaults, type HurtBroker } from './broker-groups-faults.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { KafkaAdmin } from './kafka-admin.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

withKafka('groups while Kafka fails', () => {
  let server: KafkaServer;

  async function startBroker(): Promise<HurtBroker> {
    const proxy = await FaultyProxy.start(0);
    server = await KafkaServer.start({ proxyPort: proxy.port });
    proxy.target = server.proxiedPort;
    return {
      server,
      proxy,
      url: server.url,
      proxiedUrl: `kafka://127.0.0.1:${proxy.port}`,
      open: (url, name, options) => openKafkaLog({ url, name, ...options }),
      async ledger(name) {
        const admin = new KafkaAdmin(server);
        const { floor, head } = await admin.bounds(`${name}-groups`);
        await admin.close();
        return { entries: head - floor, head };
      },
    };
  }

  groupFaults(startBroker);

  test('when the log or the ledger is deleted, groups go on with what comes', async () => {
    const log = await openKafkaLog({ url: server.url, name: 'deleted' });
    const admin = new KafkaAdmin(server);
    const group = await log.groups.open('work', { filters: ['job/#'], after: 0 });
    const append = async (count: number): Promise<void> => {
      await log.append(
        Array.from({ length: count }, () => message('job/1')),
        'fsync',
      );
    };
    await append(5);
    const before = await group.claim('ann', 3);
    await admin.delete('deleted');
    await admin.create('deleted', { 'message.timestamp.type': 'CreateTime' });
    await until('it has noticed', () => log.rewinds === 1);
    await append(2);
    const { deliveries } = await group.claim('ann', 10);
    expect(deliveries.map(({ offset, count }) => [offset, count])).toEqual([
      [1, 1],
      [2, 1],
    ]);
    expect(await group.ack('ann', before.deliveries.slice(2))).toEqual([false]);
    expect(await group.ack('ann', deliveries)).toEqual([true, true]);

    await admin.delete('deleted-groups');
    await admin.create('deleted-groups', { 'message.timestamp.type': 'LogAppendTime' });
    await append(2);
    expect((await group.claim('ann', 10)).deliveries.map(({ offset }) => offset)).toEqual([3, 4]);
    await log.close();
    await admin.close();
  }, 60_000);
});
