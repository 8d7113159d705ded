import { Admin, describeQuorumV2 } from '@platformatic/kafka';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { BrokerLog } from '../../src/engines/broker/broker-log.ts';
import { KafkaCluster } from '../../src/engines/kafka/cluster.ts';
import { type KafkaLogOptions, openKafkaLog, openKafkaPartitions } from '../../src/engines/kafka/kafka-log.ts';
import type { Log } from '../../src/log/log.ts';
import { message, offsetOf, readAllOf, until } from '../log/messages.ts';
import { KafkaServer } from './kafka-server.ts';
import { withKafka } from './with-kafka.ts';

withKafka('a log in a Kafka of three brokers', () => {
  let brokers: readonly KafkaServer[];
  let admin: Admin;
  let made = 0;
  let name: string;
  const cleanup: (() => Promise<unknown>)[] = [];
  const down = new Set<KafkaServer>();

  beforeAll(async () => {
    brokers = await KafkaServer.cluster(3, {
      properties: {
        'controller.quorum.election.timeout.ms': '500',
        'controller.quorum.fetch.timeout.ms': '1000',
        'replica.lag.time.max.ms': '2000',
        'min.insync.replicas': '2',
      },
    });
    const bootstrapBrokers = brokers.map(({ port }) => ({ host: '127.0.0.1', port }));
    admin = new Admin({ clientId: 'operator', bootstrapBrokers, retries: 50, retryDelay: 100 });
  });

  afterAll(async () => {
    await admin.close();
    await Promise.all(brokers.map(broker => broker.stop('SIGKILL')));
  });

  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
    for (const broker of brokers) broker.signal('SIGCONT');
    await Promise.all([...down].map(broker => broker.start()));
    down.clear();
  });

  const fresh = (): string => (name = `cluster-${++made}`);

  function urlOf(...some: readonly KafkaServer[]): string {
    return `kafka://${some.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  }

  async function open(options: Partial<KafkaLogOptions> = {}): Promise<BrokerLog> {
    const log = await openKafkaLog({ url: urlOf(...brokers), name, replicas: 3, durability: 'fsync', ...options });
    cleanup.push(() => log.close());
    return log;
  }

  async function kill(broker: KafkaServer): Promise<void> {
    await broker.stop('SIGKILL');
    down.add(broker);
  }

  async function startAgain(): Promise<void> {
    await Promise.all([...down].map(broker => broker.start()));
    down.clear();
  }

  interface Standing {
    readonly leader: number;
    readonly replicas: readonly number[];
    readonly inSync: readonly number[];
  }

  async function standing(): Promise<Standing> {
    const { topics } = await admin.metadata({ topics: [name], forceUpdate: true });
    const { leader, replicas, isr } = topics.get(name)!.partitions[0]!;
    return { leader, replicas, inSync: isr };
  }

  async function leader(): Promise<KafkaServer> {
    const { leader } = await standing();
    return brokers.find(({ id }) => id === leader)!;
  }

  async function controller(): Promise<KafkaServer> {
    const connection = await admin.connections.getFirstAvailable(
      brokers.map(({ port }) => ({ host: '127.0.0.1', port })),
    );
    const asked = [{ topicName: '__cluster_metadata', partitions: [{ partitionIndex: 0 }] }];
    const { topics } = await describeQuorumV2.api.async(connection, asked);
    return brokers.find(({ id }) => id === topics[0]!.partitions[0]!.leaderId)!;
  }

  async function allInSync(): Promise<void> {
    await until('all are in sync', async () => {
      await new Promise(resolve => setTimeout(resolve, 50));
      return (await standing().catch(() => undefined))?.inSync.length === 3;
    });
  }

  /** Each node publishes one after another what has its number; each again until it is acked. */
  class Load {
    readonly acked: string[][];
    readonly #running: Promise<unknown>;
    #stopped = false;

    constructor(nodes: readonly Log[]) {
      this.acked = nodes.map(() => []);
      this.#running = Promise.all(nodes.map((node, i) => this.#run(node, i)));
    }

    get count(): number {
      return this.acked.reduce((sum, { length }) => sum + length, 0);
    }

    async more(count: number): Promise<void> {
      const wanted = this.count + count;
      await until(`${count} more are acked`, () => this.count >= wanted, 25_000);
    }

    async stop(): Promise<void> {
      this.#stopped = true;
      await this.#running;
    }

    async #run(node: Log, number: number): Promise<void> {
      for (let i = 0; !this.#stopped; i++) {
        const id = `${number} ${i}`;
        for (;;) {
          try {
            offsetOf((await node.append([message(`t/${i % 3}`, id, { id })], 'fsync'))[0]);
            break;
          } catch {
            await new Promise(resolve => setTimeout(resolve, 20));
          }
        }
        this.acked[number]!.push(id);
      }
    }
  }

  /** What was acked is there once, in order, on each node. */
  async function expectWhole(nodes: readonly BrokerLog[], load: Load): Promise<void> {
    const newest = Math.max(...nodes.map(({ head }) => head.offset));
    await until('all nodes are at the head', () => nodes.every(({ head }) => head.offset >= newest));
    for (const node of nodes) {
      const texts = (await readAllOf(node, ['t/#'], 0, newest, 1e6)).map(({ data }) => Buffer.from(data).toString());
      for (const [i, acked] of load.acked.entries())
        expect(texts.filter(text => text.startsWith(`${i} `))).toEqual(acked);
      expect(node.rewinds).toBe(0);
    }
  }

  test('nothing acked is lost or doubled when the leader, then the controller, are killed under load', async () => {
    fresh();
    const nodes = [await open(), await open({ url: urlOf(brokers[1]!) })];
    await allInSync();
    const load = new Load(nodes);
    await load.more(30);
    await kill(await leader());
    await load.more(30);
    await startAgain();
    await allInSync();
    await kill(await controller());
    await load.more(30);
    await startAgain();
    await load.more(30);
    await load.stop();
    await expectWhole(nodes, load);
  }, 100_000);

  test('a leader that hangs is left for another', async () => {
    fresh();
    const nodes = [await open(), await open({ url: urlOf(brokers[2]!) })];
    await allInSync();
    const load = new Load(nodes);
    await load.more(30);
    const hung = await leader();
    hung.signal('SIGSTOP');
    await load.more(30);
    hung.signal('SIGCONT');
    await load.more(30);
    await load.stop();
    await expectWhole(nodes, load);
  }, 100_000);

  test('two of three brokers away: publishers wait and are told why, and all goes on', async () => {
    fresh();
    const nodes = [await open(), await open()];
    await allInSync();
    const load = new Load(nodes);
    await load.more(30);
    const last = await controller();
    // the controllers have to be a majority: those that hang count no less than those that are gone
    const others = brokers.filter(broker => broker !== last);
    for (const broker of others) broker.signal('SIGSTOP');
    await until(
      'the probes fail',
      () =>
        nodes[0]!.probes[0]!.run().then(
          () => false,
          () => true,
        ),
      40_000,
    );
    const before = load.count;
    for (const broker of others) broker.signal('SIGCONT');
    await load.more(30);
    await load.stop();
    expect(load.count).toBeGreaterThanOrEqual(before + 30);
    await expectWhole(nodes, load);
  }, 100_000);

  test('a partition without a leader does not keep the others from going on', async () => {
    fresh();
    const topic = { topics: [name], partitions: 3, replicas: 1 };
    await admin.createTopics({ ...topic, configs: [{ name: 'min.insync.replicas', value: '1' }] });
    const log = await openKafkaPartitions({ url: urlOf(...brokers), name, partitions: 3, durability: 'written' });
    cleanup.push(() => log.close());
    const gone = await leader();
    await kill(gone);
    const access = brokers.map(({ port }) => ({ host: '127.0.0.1', port }));
    const cluster = new KafkaCluster({ brokers: access, tls: false, sasl: undefined });
    cleanup.push(() => cluster.close());
    const placed = async (): Promise<number> => {
      const places = await Promise.allSettled([0, 1, 2].map(partition => cluster.locate(name, partition)));
      return places.filter(({ status }) => status === 'fulfilled').length;
    };
    await until(
      'one has no leader',
      async () => {
        await new Promise(resolve => setTimeout(resolve, 50));
        return (await placed()) === 2;
      },
      40_000,
    );
    const appended = Array.from({ length: 30 }, (_, i) => log.append([message(`t/${i}`)], 'written'));
    let acked = 0;
    for (const append of appended) void append.then(() => acked++);
    await until('those of two partitions are acked', () => acked > 10);
    await startAgain();
    for (const [result] of await Promise.all(appended)) offsetOf(result);
  }, 100_000);

  test('what an unclean election lost is told, and the log goes on', async () => {
    fresh();
    const configs = Object.entries({ 'min.insync.replicas': '1', 'unclean.leader.election.enable': 'true' });
    await admin.createTopics({
      ...{ topics: [name], partitions: 1, replicas: 2 },
      configs: configs.map(([name, value]) => ({ name, value })),
    });
    const log = await open({ durability: 'written' });
    for (let i = 0; i < 5; i++) await log.append([message('t', `kept ${i}`)], 'written');
    const first = await leader();
    const { replicas } = await standing();
    const second = brokers.find(({ id }) => id !== first.id && replicas.includes(id))!;
    await until('both have all', async () => (await standing()).inSync.length === 2);
    await kill(second);
    await until('the other is out', async () => (await standing()).inSync.length === 1);
    for (let i = 0; i < 5; i++) await log.append([message('t', `lost ${i}`)], 'written');
    const cursor = log.head;
    await kill(first);
    await second.start();
    down.delete(second);
    await until('it is noticed', () => log.rewinds === 1, 25_000);
    expect(log.endOf(cursor.epoch) ?? 0).toBeLessThan(cursor.offset);
    const [result] = await log.append([message('t', 'new')], 'written');
    expect(offsetOf(result)).toBe(6);
    const texts = (await readAllOf(log, ['t'])).map(({ data }) => Buffer.from(data).toString());
    expect(texts).toEqual([...Array.from({ length: 5 }, (_, i) => `kept ${i}`), 'new']);
  }, 100_000);
});
