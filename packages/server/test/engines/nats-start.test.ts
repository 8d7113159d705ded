import { jetstreamManager } from '@nats-io/jetstream';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { readAddress } from '../../src/engines/nats/address.ts';
import { type NatsLogOptions, openNatsLog, openNatsPartitions } from '../../src/engines/nats/nats-log.ts';
import type { Log } from '../../src/log/log.ts';
import { message, offsetOf } from '../log/messages.ts';
import { NatsServer } from './nats-server.ts';
import { withNats } from './with-nats.ts';

withNats('what a NATS server has to be', () => {
  let server: NatsServer;
  const cleanup: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    server = await NatsServer.start('authorization { user: u, password: "p:@/" }');
  });

  afterAll(() => server.stop());

  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
  });

  const url = (): string => `nats://u:p%3A%40%2F@127.0.0.1:${server.port}`;

  async function open(name: string, more: Partial<NatsLogOptions> = {}): Promise<Log> {
    const log = await openNatsLog({ url: url(), name, ...more });
    cleanup.push(() => log.close());
    return log;
  }

  test('durability is what the server keeps, and no more', async () => {
    expect((await open('alone')).capabilities.durabilities).toEqual(['written']);
    expect((await open('alone', { synced: true })).capabilities.durabilities).toEqual(['fsync', 'written']);
    await expect(open('alone', { durability: 'fsync' })).rejects.toThrow(
      /^the log cannot be opened: NATS at nats:\/\/127\.0\.0\.1:\d+ does not serve it: durability is fsync, and stream alone-0 has 1 replicas: set sync_interval: always there and nats.synced here/,
    );
  });

  test('a start that is refused leaves nothing behind', async () => {
    const client = await server.client({ user: 'u', pass: 'p:@/' });
    cleanup.push(() => client.close());
    const { streams } = await jetstreamManager(client);
    await expect(open('refused', { durability: 'fsync' })).rejects.toThrow(/durability is fsync/);
    await expect(open('refused', { replicas: 3 })).rejects.toThrow(/replicas/);
    expect((await streams.names().next()).filter(name => name.startsWith('refused'))).toEqual([]);
  });

  test('a stream that another made, or that was changed, is refused by name', async () => {
    const client = await server.client({ user: 'u', pass: 'p:@/' });
    cleanup.push(() => client.close());
    const { streams } = await jetstreamManager(client);
    await streams.add({ name: 'strange-0', subjects: ['strange.0.*'] });
    await expect(open('strange')).rejects.toThrow(/stream strange-0 was not made by Tailrace/);
    await (await open('changed')).append([message('a')], 'fsync');
    await streams.update('changed-0', { allow_direct: false });
    await expect(open('changed')).rejects.toThrow(
      /stream changed-0 is set otherwise than Tailrace made it: .* allow_direct/,
    );
  });

  test('a server that is not there, or lets nobody in, is named', async () => {
    await expect(open('x', { url: 'nats://127.0.0.1:1', startTimeout: 300 })).rejects.toThrow(
      /NATS at nats:\/\/127\.0\.0\.1:1 does not serve it: connection refused/,
    );
    await expect(open('x', { url: server.url, startTimeout: 300 })).rejects.toThrow(/Authorization Violation/i);
  });

  test('retention is the server’s: it is told what the settings say, also when they change', async () => {
    const client = await server.client({ user: 'u', pass: 'p:@/' });
    cleanup.push(() => client.close());
    const { streams } = await jetstreamManager(client);
    const limits = async (): Promise<unknown> => {
      const { max_age, max_bytes } = (await streams.info('kept-0')).config;
      return { max_age, max_bytes };
    };
    await open('kept', { retention: { age: 60_000 } });
    expect(await limits()).toEqual({ max_age: 60_000e6, max_bytes: -1 });
    const log = await open('kept', { retention: { bytes: 100_000 } });
    expect(await limits()).toEqual({ max_age: 0, max_bytes: 100_000 });
    for (let i = 0; i < 30; i++) await log.append([message('a', 'x'.repeat(10_000))], 'fsync');
    await log.trim(0);
    expect(log.floor).toBeGreaterThan(15);
    expect((await streams.info('kept-0')).state.bytes).toBeLessThanOrEqual(100_000);
  });

  test('a record that is larger than the server takes is refused by name, what stood before it is kept', async () => {
    const log = await open('large');
    const results = await log.append([message('a'), message('a', 'x'.repeat(1024 * 1024))], 'fsync');
    expect(offsetOf(results[0])).toBe(1);
    expect(results[1]).toMatchObject({ error: { code: 'payload_too_large' } });
    expect((await log.append([message('a', 'x'.repeat(1000 * 1024))], 'fsync')).map(offsetOf)).toEqual([2]);
  });

  test('a log in several streams stays in as many', async () => {
    const log = await openNatsPartitions({ url: url(), name: 'parts', partitions: 3 });
    cleanup.push(() => log.close());
    const topics = Array.from({ length: 20 }, (_, i) => `t/${i}`);
    for (const topic of topics) await log.append([message(topic)], 'written');
    const late = await openNatsPartitions({ url: url(), name: 'parts', partitions: 3 });
    cleanup.push(() => late.close());
    expect(late.id).toBe(log.id);
    expect((await late.topics('', '', 100)).map(({ topic }) => topic)).toEqual(topics.toSorted());
    await expect(openNatsPartitions({ url: url(), name: 'parts', partitions: 2 })).rejects.toThrow(
      /the log of stream parts-0 has 3 partitions and not 2: set nats.partitions to 3/,
    );
  });

  test('addresses', () => {
    expect(readAddress('nats://a:1,b:2')).toEqual({ servers: ['a:1', 'b:2'] });
    expect(readAddress('tls://token@a:1')).toEqual({ servers: ['a:1'], tls: {}, token: 'token' });
    expect(readAddress('nats://u:p%40@a:1')).toEqual({ servers: ['a:1'], user: 'u', pass: 'p@' });
  });
});
