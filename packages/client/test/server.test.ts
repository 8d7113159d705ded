import { describe, expect, test } from 'vitest';
import { Served } from '../../server/test/cli/served.ts';
import { until } from '../../server/test/log/messages.ts';
import { Endpoints } from '../src/endpoints.ts';
import { surroundings } from '../src/environment.ts';
import { Client, connect, type Message, poll, sse, type Transport, webSocket } from '../src/index.ts';
import { NetworkProxy } from './network-proxy.ts';

const transports: readonly Transport[] = [webSocket, sse, poll];

/** Publishes numbers one after the other until it is stopped. */
async function publishNumbers(client: Client, topic: string, until: () => boolean): Promise<number> {
  const answers: Promise<unknown>[] = [];
  let n = 0;
  while (!until()) {
    while (client.pending < 100) answers.push(client.publish(topic, n++));
    await new Promise(resolve => setTimeout(resolve, 5));
  }
  await Promise.all(answers);
  return n;
}

describe.each(transports.map(transport => ({ transport })))('by $transport.name', ({ transport }) => {
  test('cut connections, half frames, silence, and a server killed and started again: each message once, in order', {
    timeout: 90_000,
  }, async () => {
    await using served = await Served.start(['--heartbeat', '5s']);
    await using proxy = await NetworkProxy.start(served.port);
    const publisher = new Client(proxy.url, { transports: [transport] });
    const reader = new Client(proxy.url, { transports: [transport] });
    const given: number[] = [];
    const told: unknown[] = [];
    const subscription = reader.subscribe<number>('numbers', {
      from: 'earliest',
      onMessage: ({ data }) => given.push(data),
      onGap: gap => told.push(gap),
      onReset: reset => told.push(reset),
    });
    let isOver = false;
    const publishing = publishNumbers(publisher, 'numbers', () => isOver);
    const more = (): Promise<void> => {
      const enough = given.length + 300;
      return until('300 more came', () => given.length >= enough, 40_000);
    };
    await more();
    for (let round = 0; round < 2; round++) {
      proxy.cut();
      await more();
      proxy.cutAfter(1000 + Math.floor(Math.random() * 20_000));
      await more();
    }
    proxy.stall();
    await more();
    await served.kill('SIGKILL');
    await served.startAgain();
    await more();
    isOver = true;
    const count = await publishing;
    await until('everything came', () => given.length >= count);
    expect(given).toEqual(Array.from({ length: count }, (_, n) => n));
    expect(told).toEqual([]);
    expect(subscription.state).toBe('live');
    reader.close();
    publisher.close();
  });

  test('a reader that is slow holds nothing but its buffer, and gets everything', { timeout: 60_000 }, async () => {
    await using served = await Served.start();
    const client = new Client(served.url, { transports: [transport] });
    const lines = Array.from(
      { length: 50_000 },
      (_, n) => `{"topic":"slow/${n % 7}","data":{"n":${n},"text":"${'x'.repeat(100)}"}}\n`,
    );
    await fetch(`${served.url}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.join(''),
    }).then(response => response.text());
    const subscription = client.subscribe<{ n: number }>('slow/+', { from: 'earliest', buffer: 100 });
    let n = 0;
    let most = 0;
    for await (const message of subscription) {
      expect(message.data.n).toBe(n++);
      if (n % 500 === 0) await new Promise(resolve => setTimeout(resolve, 5));
      most = Math.max(most, subscription.waiting);
      if (n === lines.length) break;
    }
    expect(most).toBeLessThan(5000);
    client.close();
  });

  test('errors of the server arrive with their codes', async () => {
    await using served = await Served.start();
    const client = new Client(served.url, { transports: [transport] });
    await expect(client.publish('a//b', 1)).rejects.toMatchObject({ code: 'topic_invalid' });
    await expect(client.publish('a', 1, { key: 'k', expect: { offset: 7 } })).rejects.toMatchObject({
      code: 'expect_failed',
      problem: { current: null },
    });
    expect(await client.publish('a', 1, { durability: 'none' })).toMatchObject({ duplicate: false });
    expect(await client.publish('a', 1, { id: 'x' })).toMatchObject({ offset: 1, duplicate: false });
    expect(await client.publish('a', 1, { id: 'x' })).toMatchObject({ offset: 1, duplicate: true });
    const reading = (async () => {
      for await (const _ of client.subscribe('a/#/b')) throw new Error('nothing can come');
    })();
    await expect(reading).rejects.toMatchObject({ code: 'filter_invalid' });
    // the others go on
    const messages: Message[] = [];
    const good = client.subscribe('a', { from: 'earliest', onMessage: message => messages.push(message) });
    await until('it came', () => messages.length === 1);
    // an ended topic ends who reads only that
    await client.publish('a', undefined, { end: true });
    await until('it ended', () => good.state === 'ended');
    client.close();
  });
});

describe('a proxy that does not let everything through', () => {
  test('strips upgrades: SSE within 10 s, WebSocket when it is let through again', async () => {
    await using served = await Served.start();
    await using proxy = await NetworkProxy.start(served.port);
    proxy.stripsUpgrades = true;
    // waits are a tenth as long, so that a better transport is looked for after 3 s
    const environment = { ...surroundings, after: (ms: number, run: () => void) => surroundings.after(ms / 10, run) };
    const client = connect(proxy.url, { environment, store: { load: () => undefined, save: () => {} } });
    const given: unknown[] = [];
    client.subscribe('t', { onMessage: ({ data }) => given.push(data) });
    await until('SSE is taken', () => client.transport === 'sse', 10_000);
    await client.publish('t', 1);
    proxy.stripsUpgrades = false;
    await until('WebSocket is taken', () => client.transport === 'websocket', 10_000);
    await client.publish('t', 2);
    await until('both came', () => given.length === 2);
    expect(given).toEqual([1, 2]);
    client.close();
  });

  test('buffers: long-poll within 10 s', async () => {
    await using served = await Served.start();
    await using proxy = await NetworkProxy.start(served.port);
    proxy.buffers = true;
    const client = new Client(proxy.url, { transports: [sse, poll] });
    const given: unknown[] = [];
    client.subscribe('t', { onMessage: ({ data }) => given.push(data) });
    await until('long-poll is taken', () => client.transport === 'poll', 10_000);
    await client.publish('t', 1);
    await until('it came', () => given.length === 1);
    client.close();
  });
});

describe('several endpoints', () => {
  test('the fastest is taken; when it fails, another goes on where it was; and it is remembered', async () => {
    await using served = await Served.start();
    await using near = await NetworkProxy.start(served.port);
    await using far = await NetworkProxy.start(served.port);
    far.delay = 150;
    const kept = new Map<string, string>();
    const store = { load: (key: string) => kept.get(key), save: (key: string, value: string) => kept.set(key, value) };
    const open = (): Client => connect([far.url, near.url, 'http://127.0.0.1:9'], { store });
    const client = open();
    const given: unknown[] = [];
    client.subscribe('t', { onMessage: ({ data }) => given.push(data) });
    await client.publish('t', 1);
    expect([near.upgrades, far.upgrades]).toEqual([1, 0]);
    near.refuses = true;
    near.cut();
    await client.publish('t', 2);
    await until('both came', () => given.length === 2);
    expect(far.upgrades).toBe(1);
    await until('it has proved good', () => [...kept.values()].some(text => text.endsWith(far.url)));
    client.close();
    // the next goes there first
    near.refuses = false;
    const next = open();
    await next.publish('t', 3);
    expect(far.upgrades).toBe(2);
    next.close();
  });

  test('moves to a nearer one after three looks in a row, and not for less', async () => {
    await using served = await Served.start();
    await using one = await NetworkProxy.start(served.port);
    await using other = await NetworkProxy.start(served.port);
    const endpoints = new Endpoints([one.url, other.url], surroundings, one.url);
    expect(await endpoints.choose()).toBe(one.url);
    one.delay = 300;
    expect([await endpoints.look(), await endpoints.look()]).toEqual([false, false]);
    one.delay = 0;
    expect(await endpoints.look()).toBe(false);
    one.delay = 300;
    expect([await endpoints.look(), await endpoints.look(), await endpoints.look()]).toEqual([false, false, true]);
    expect(await endpoints.choose()).toBe(other.url);
  });
});
