import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { runCli } from '../cli/cli-process.ts';
import { Served } from '../cli/served.ts';
import { SseClient } from '../gateway/sse-client.ts';
import { until } from '../log/messages.ts';
import { KafkaProducers } from './kafka-producers.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

interface Envelope {
  readonly topic: string;
  readonly id: string;
  readonly data?: number;
}

withKafka('servers in front of a Kafka that others write to', () => {
  let server: KafkaServer;
  let others: KafkaProducers;
  let made = 0;
  const cleanup: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    server = await KafkaServer.start();
    others = new KafkaProducers(server);
  }, 60_000);

  afterAll(async () => {
    await others[Symbol.asyncDispose]();
    await server.stop('SIGKILL');
  });

  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
  });

  async function topic(partitions: number): Promise<string> {
    const name = `orders-${++made}`;
    await others.create(name, partitions);
    return name;
  }

  async function serve(from: string, ...more: string[]): Promise<Served> {
    const bridge = JSON.stringify([{ from: `kafka:${from}`, to: 'orders/{key}' }]);
    const served = await Served.start([
      '--kafka.bridge',
      server.url,
      '--bridge',
      bridge,
      '--log.level',
      'error',
      ...more,
    ]);
    cleanup.push(() => served[Symbol.asyncDispose]());
    return served;
  }

  const received = (client: SseClient): Envelope[] => client.messages.map(({ data }) => JSON.parse(data!) as Envelope);

  /** Each key's numbers, in the order in which they came. */
  function byKey(all: readonly Envelope[]): ReadonlyMap<string, number[]> {
    const found = new Map<string, number[]>();
    for (const { topic: of, data } of all) found.set(of, [...(found.get(of) ?? []), data!]);
    return found;
  }

  /** Produces numbers to seven keys over the partitions, again when Kafka is away, as idempotent producers do. */
  async function produce(from: string, partitions: number, begin: number, end: number): Promise<void> {
    for (let i = begin; i < end; i++)
      for (let isDone = false; !isDone; )
        isDone = await others.produce(from, [{ key: `${i % 7}`, value: `${i}`, partition: (i % 7) % partitions }]).then(
          () => true,
          () => new Promise<false>(resolve => setTimeout(resolve, 50, false)),
        );
  }

  const numbers = (count: number): ReadonlyMap<string, number[]> => {
    const expected = new Map<string, number[]>();
    for (let i = 0; i < count; i++) expected.set(`orders/${i % 7}`, [...(expected.get(`orders/${i % 7}`) ?? []), i]);
    return expected;
  };

  test('subscribers get history and what comes, by SSE, poll and replay; nobody publishes there', async () => {
    const from = await topic(2);
    await produce(from, 2, 0, 20);
    const node = await serve(from);
    const client = await SseClient.open(node.port, 'filter=orders/%23&from=earliest');
    await client.count(20);
    await produce(from, 2, 20, 40);
    await client.count(40);
    expect(byKey(received(client))).toEqual(numbers(40));
    const last = await SseClient.open(node.port, 'filter=orders/3&from=last:2');
    await last.count(2);
    expect(received(last).map(({ data }) => data)).toEqual([31, 38]);
    const since = await SseClient.open(node.port, 'filter=orders/%2B&from=-5m');
    await since.count(40);
    const polled: unknown[] = [];
    for (let cursor = ''; polled.length < 5; ) {
      const poll = await fetch(`${node.url}/v1/poll?filter=orders/5&from=earliest&wait=0${cursor}`);
      const answer = (await poll.json()) as { messages: Envelope[]; cursor: string };
      polled.push(...answer.messages.map(({ data }) => data));
      cursor = `&cursor=${answer.cursor}`;
    }
    expect(polled).toEqual([5, 12, 19, 26, 33]);
    const topics = (await (await fetch(`${node.url}/v1/topics`)).json()) as { topics: { topic: string }[] };
    expect(topics.topics.map(info => info.topic)).toEqual([0, 1, 2, 3, 4, 5, 6].map(key => `orders/${key}`));

    for (const [query, status] of [
      ['', 403],
      ['?durability=none', 403],
    ] as const) {
      const refused = await fetch(`${node.url}/v1/topics/orders/3${query}`, { method: 'POST', body: '1' });
      expect(refused.status).toBe(status);
      expect(await refused.json()).toMatchObject({ code: 'publish_forbidden', at: { field: 'topic' } });
    }
    const batch = await fetch(`${node.url}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([
        { topic: 'a', data: 1 },
        { topic: 'orders/3', data: 2 },
        { topic: 'b', data: 3 },
      ]),
    });
    expect(((await batch.json()) as { results: unknown[] }).results).toMatchObject([
      { offset: 1 },
      { error: { code: 'publish_forbidden' } },
      { error: { code: 'not_attempted' } },
    ]);
    const deleted = await fetch(`${node.url}/v1/topics/orders/3`, { method: 'DELETE' });
    expect(await deleted.json()).toMatchObject({ code: 'unsupported' });
    expect(await (await fetch(`${node.url}/v1/nodes`)).json()).toEqual({ nodes: [] });
    const metrics = await (await fetch(`${node.url}/metrics`)).text();
    expect(metrics).toContain(`tailrace_bridge_lag_records{partition="${from}/1"} 0`);
  });

  test.each([
    ['disk', []],
    ['memory', ['--engine', 'memory', '--durability', 'written']],
    ['Kafka', ['--engine', 'kafka']],
  ])(
    'with the log in %s, servers and Kafka may be killed: nothing lost, nothing doubled without a word, order of each key',
    async (name, flags) => {
      const from = await topic(3);
      const more = name === 'Kafka' ? ['--engine', server.url, '--kafka.name', `log-${made}`] : flags;
      const nodes = [await serve(from, ...more), await serve(from, ...more)];
      const all: Envelope[] = [];
      const count = 1200;
      const producing = produce(from, 3, 0, count);
      const killing = (async () => {
        await until('some have come', () => all.length > 100);
        await nodes[0]!.kill('SIGKILL');
        await nodes[0]!.startAgain();
        await until('more have come', () => all.length > 400);
        await server.stop('SIGKILL');
        await server.start();
        await until('still more have come', () => all.length > 800);
        await nodes[1]!.kill('SIGKILL');
        await nodes[1]!.startAgain();
      })();
      let cursor: string | undefined;
      let resets = 0;
      for (let turn = 0; distinctOf(all) < count; turn++) {
        const node = nodes[turn % 2]!;
        const headers: Record<string, string> = cursor === undefined ? {} : { 'last-event-id': cursor };
        const client = await SseClient.open(node.port, 'filter=orders/%23&from=earliest', headers).catch(
          () => undefined,
        );
        if (client === undefined) {
          await new Promise(resolve => setTimeout(resolve, 50));
          continue;
        }
        // every so often it goes to another one by itself
        for (let seen = 0; !client.raw.closed; seen = client.blocks.length) {
          await until('something comes', () => client.raw.closed || client.blocks.length > seen, 40_000);
          const whole = wholeOf(client);
          if (whole.count >= 200 || distinctOf([...all, ...received(client).slice(0, whole.count)]) >= count) break;
        }
        const whole = wholeOf(client);
        resets += client.notices('reset').length + client.notices('gap').length;
        all.push(...received(client).slice(0, whole.count));
        cursor = whole.cursor ?? cursor;
        client.close();
      }
      await Promise.all([producing, killing]);
      // whoever produces again what was not acked may double it in Kafka
      const once = all.filter(
        ({ topic: of, data }, i) => all.findIndex(one => one.topic === of && one.data === data) === i,
      );
      expect(byKey(once)).toEqual(numbers(count));
      // who comes to a server that has read less, while Kafka cannot be asked, is told that something is repeated
      const doubled = all.length - new Set(all.map(({ id }) => id)).size;
      expect(doubled === 0 || resets > 0).toBe(true);
    },
    110_000,
  );

  const distinctOf = (some: readonly Envelope[]): number => new Set(some.map(({ data }) => data)).size;

  /** Messages up to the last `id:`, and that: of those behind it the client does not know how far it is. */
  function wholeOf(client: SseClient): { count: number; cursor: string | undefined } {
    const { blocks } = client;
    const at = blocks.findLastIndex(({ id }) => id !== undefined);
    const count = blocks
      .slice(0, at + 1)
      .filter(({ event, data }) => event !== 'tailrace' && data !== undefined).length;
    return { count, cursor: blocks[at]?.id };
  }

  test('what retention took is told as a gap, a topic made anew as a reset, and live subscribers go on', async () => {
    const from = await topic(1);
    const node = await serve(from);
    await produce(from, 1, 0, 10);
    const first = await SseClient.open(node.port, 'filter=orders/%23&from=earliest');
    await first.count(10);
    const early = first.blocks.find(({ id, event }) => id !== undefined && event !== 'tailrace')!.id!;
    await others.admin.deleteRecords({ topics: [{ name: from, partitions: [{ partition: 0, offset: 9n }] }] } as never);
    await node.kill('SIGKILL');
    await node.startAgain();
    const begun = await SseClient.open(node.port, 'filter=orders/%23&from=earliest');
    expect(await begun.notice('gap')).toMatchObject({ reason: 'trimmed' });
    await begun.count(1);
    expect(received(begun).map(({ data }) => data)).toEqual([9]);

    const live = await SseClient.open(node.port, 'filter=orders/%23', { 'last-event-id': begun.lastId! });
    await live.notice('live');
    await others.admin.deleteTopics({ topics: [from] });
    await until('it is made anew', () =>
      others.create(from, 1).then(
        () => true,
        () => false,
      ),
    );
    await produce(from, 1, 20, 22);
    await live.raw.over();
    expect(early).toMatch(/^w/);
    const reset = await SseClient.open(node.port, 'filter=orders/%23', { 'last-event-id': live.lastId! });
    expect(await reset.notice('reset')).toMatchObject({ reason: 'epoch' });
    await reset.count(2);
    expect(received(reset).map(({ data }) => data)).toEqual([20, 21]);
  }, 60_000);

  test('a topic that is not there, and one without an address, end the start with what to do', async () => {
    const bridge = JSON.stringify([{ from: 'kafka:nowhere', to: 'a' }]);
    const missing = await runCli([
      'serve',
      '--port',
      '0',
      '--engine',
      'memory',
      '--kafka.bridge',
      server.url,
      '--bridge',
      bridge,
    ]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain('there is no topic nowhere');
    expect(missing.stderr).toContain('bridge[0].from');
    const checked = await runCli(['check', '--bridge', bridge]);
    expect(checked.code).toBe(1);
    expect(checked.stderr).toContain('set kafka.bridge to its address');
  });
});
