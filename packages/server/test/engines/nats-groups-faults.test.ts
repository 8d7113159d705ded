import { jetstreamManager } from '@nats-io/jetstream';
import { expect, test } from 'vitest';
import { openNatsLog } from '../../src/engines/nats/nats-log.ts';
import { message, until } from '../log/messages.ts';
import { groupFaults, type HurtBroker } from './broker-groups-faults.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

withNats('groups while NATS fails', () => {
  async function startBroker(): Promise<HurtBroker> {
    const server = await NatsServer.start();
    const proxy = await FaultyProxy.start(server.port);
    return {
      server,
      proxy,
      url: server.url,
      proxiedUrl: `nats://127.0.0.1:${proxy.port}`,
      open: (url, name, options) => openNatsLog({ url, name, synced: true, ...options }),
      async ledger(name) {
        const client = await server.client();
        const { state } = await (await jetstreamManager(client)).streams.info(`${name}-groups-0`);
        await client.close();
        return { entries: state.messages, head: state.last_seq };
      },
    };
  }

  groupFaults(startBroker);

  test('after a power loss members hold nothing that is lost, and get what has the same offsets now', async () => {
    const server = await NatsServer.start();
    const log = await openNatsLog({ url: server.url, synced: true });
    const group = await log.groups.open('work', { filters: ['job/#'], after: 0, ackDeadline: 60_000 });
    const append = async (...texts: string[]): Promise<void> => {
      await log.append(
        texts.map(text => message('job/1', text)),
        'fsync',
      );
    };
    await append('1', '2', '3', '4');
    const kept = await group.claim('ann', 2);
    await server.stop();
    const putBack = server.keep();
    await server.start();
    await append('lost 5', 'lost 6', 'lost 7');
    const unknown = await group.claim('ann', 10);
    expect(unknown.deliveries.map(({ offset }) => offset)).toEqual([3, 4, 5, 6, 7]);
    expect(await group.ack('ann', kept.deliveries.slice(0, 1))).toEqual([true]);
    await server.stop('SIGKILL');
    putBack();
    await server.start();
    await until('it is noticed', () => log.rewinds === 1);
    await append('5', '6');
    const now = await group.claim('ann', 10);
    expect(now.deliveries.map(({ record }) => Buffer.from(record.data).toString())).toEqual(['3', '4', '5', '6']);
    expect(now.deliveries.map(({ count }) => count)).toEqual([1, 1, 1, 1]);
    expect(await group.ack('ann', unknown.deliveries.slice(2))).toEqual([false, false, false]);
    expect(await group.ack('ann', now.deliveries)).toEqual([true, true, true, true]);
    // the server forgot this ack with the rest
    expect(await group.ack('ann', kept.deliveries)).toEqual([true, true]);
    expect(await group.status()).toMatchObject({ pending: 0, lag: 0 });
    await log.close();
    await server.stop('SIGKILL');
  }, 60_000);
});
