import type { Served } from '../cli/served.ts';
import { FaultyProxy } from '../engines/faulty-proxy.ts';
import { KafkaServer } from '../engines/kafka-server.ts';
import type { Fault, FaultStage } from './run.ts';

/** One broker; the first server reaches it through a proxy. */
class KafkaStage implements FaultStage {
  readonly broker: KafkaServer;
  readonly proxy: FaultyProxy;
  readonly flags: readonly string[] = [];

  private constructor(broker: KafkaServer, proxy: FaultyProxy) {
    this.broker = broker;
    this.proxy = proxy;
  }

  static async open(): Promise<KafkaStage> {
    const proxy = await FaultyProxy.start(0);
    const broker = await KafkaServer.start(proxy.port);
    proxy.target = broker.proxiedPort;
    return new KafkaStage(broker, proxy);
  }

  get engines(): [string, string] {
    return [`kafka://127.0.0.1:${this.proxy.port}`, this.broker.url];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy.close();
    await this.broker.stop('SIGKILL');
  }
}

const prepare = (): Promise<KafkaStage> => KafkaStage.open();
const nothing = async (): Promise<void> => {};

export const kafkaFaults: readonly Fault<KafkaStage>[] = [
  {
    name: 'kill -9 of Kafka, started again after 3 s',
    prepare,
    lasts: 3000,
    strike: ({ broker }) => broker.stop('SIGKILL'),
    heal: ({ broker }) => broker.start(),
  },
  {
    name: 'Kafka restarted by SIGTERM',
    prepare,
    lasts: 500,
    strike: ({ broker }) => broker.stop(),
    heal: ({ broker }) => broker.start(),
  },
  {
    name: 'Kafka stopped (SIGSTOP) for 20 s',
    prepare,
    lasts: 20_000,
    strike: async ({ broker }) => broker.signal('SIGSTOP'),
    heal: async ({ broker }) => broker.signal('SIGCONT'),
  },
  {
    name: 'the network of one server silent for 10 s',
    prepare,
    lasts: 10_000,
    strike: async ({ proxy }) => proxy.stall(),
    heal: async ({ proxy }) => proxy.resume(),
  },
  {
    name: 'answers to one server lost for 2 s, then its connections reset',
    prepare,
    lasts: 2000,
    strike: async ({ proxy }) => {
      proxy.swallowAnswers = true;
    },
    heal: async ({ proxy }) => {
      proxy.swallowAnswers = false;
      proxy.cut();
    },
  },
  {
    name: 'all connections of one server reset',
    prepare,
    lasts: 0,
    strike: async ({ proxy }) => proxy.cut(),
    heal: nothing,
  },
  {
    name: 'kill -9 of one server, started again after 2 s',
    prepare,
    lasts: 2000,
    strike: async (_, [a]) => void (await a.kill('SIGKILL')),
    heal: (_, [a]: readonly [Served, Served]) => a.startAgain(),
  },
];
