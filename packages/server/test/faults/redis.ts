import type { Served } from '../cli/served.ts';
import { FaultyProxy } from '../engines/faulty-proxy.ts';
import { RedisServer } from '../engines/redis-server.ts';
import { until } from '../log/messages.ts';
import type { Fault, FaultStage } from './run.ts';

/** A primary with a replica; both servers reach it through proxies, and so does the replica. */
class RedisStage implements FaultStage {
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  readonly link: FaultyProxy;
  readonly proxies: readonly [FaultyProxy, FaultyProxy];
  readonly flags: readonly string[] = [];

  private constructor(
    primary: RedisServer,
    replica: RedisServer,
    link: FaultyProxy,
    proxies: readonly [FaultyProxy, FaultyProxy],
  ) {
    this.primary = primary;
    this.replica = replica;
    this.link = link;
    this.proxies = proxies;
  }

  static async open(...more: string[]): Promise<RedisStage> {
    const primary = await RedisServer.start(...more);
    const link = await FaultyProxy.start(primary.port);
    const replica = await RedisServer.start('--replicaof', '127.0.0.1', String(link.port));
    const proxies = [await FaultyProxy.start(primary.port), await FaultyProxy.start(primary.port)] as const;
    const admin = primary.client();
    await until('the replica follows', async () => (await admin.info('replication')).includes('state=online'));
    admin.disconnect();
    return new RedisStage(primary, replica, link, proxies);
  }

  get engines(): [string, string] {
    return [this.proxies[0].url, this.proxies[1].url];
  }

  async promote(): Promise<void> {
    const admin = this.replica.client();
    await admin.replicaof('NO', 'ONE');
    admin.disconnect();
    for (const proxy of this.proxies) {
      proxy.target = this.replica.port;
      proxy.cut();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of [...this.proxies, this.link]) await proxy.close();
    for (const server of [this.primary, this.replica]) await server.stop('SIGKILL');
  }
}

const prepare = (): Promise<RedisStage> => RedisStage.open();
const nothing = async (): Promise<void> => {};

export const redisFaults: readonly Fault<RedisStage>[] = [
  {
    name: 'kill -9 of Redis, started again after 3 s',
    prepare,
    lasts: 3000,
    strike: ({ primary }) => primary.stop('SIGKILL'),
    heal: ({ primary }) => primary.start(),
  },
  {
    name: 'Redis restarted by SIGTERM',
    prepare,
    lasts: 500,
    strike: ({ primary }) => primary.stop(),
    heal: ({ primary }) => primary.start(),
  },
  {
    name: 'Redis stopped (SIGSTOP) for 20 s',
    prepare,
    lasts: 20_000,
    strike: async ({ primary }) => primary.signal('SIGSTOP'),
    heal: async ({ primary }) => primary.signal('SIGCONT'),
  },
  {
    name: 'the network of one server silent for 10 s',
    prepare,
    lasts: 10_000,
    strike: async ({ proxies }) => proxies[0].stall(),
    heal: async ({ proxies }) => proxies[0].resume(),
  },
  {
    name: 'answers lost for 2 s, then all connections reset',
    prepare,
    lasts: 2000,
    strike: async ({ proxies }) => {
      for (const proxy of proxies) proxy.swallowAnswers = true;
    },
    heal: async ({ proxies }) => {
      for (const proxy of proxies) {
        proxy.swallowAnswers = false;
        proxy.cut();
      }
    },
  },
  {
    name: 'all connections reset',
    prepare,
    lasts: 0,
    strike: async ({ proxies }) => {
      for (const proxy of proxies) proxy.cut();
    },
    heal: nothing,
  },
  {
    name: 'failover to a replica that has everything',
    prepare,
    lasts: 1000,
    strike: async ({ primary }) => {
      // nothing new, so that the replica can have all of it
      const admin = primary.client();
      await admin.call('CLIENT', 'PAUSE', 60_000, 'WRITE');
      await new Promise(resolve => setTimeout(resolve, 300));
      admin.disconnect();
      await primary.stop('SIGKILL');
    },
    heal: stage => stage.promote(),
  },
  {
    name: 'failover to a replica that lacks the last second',
    prepare,
    lasts: 1000,
    losesAcked: true,
    strike: async ({ primary, link }) => {
      link.stall();
      await new Promise(resolve => setTimeout(resolve, 1000));
      await primary.stop('SIGKILL');
      link.cut();
    },
    heal: stage => stage.promote(),
  },
  {
    name: 'the memory of Redis full for 3 s',
    prepare,
    lasts: 3000,
    strike: ({ primary }) => setMemory(primary, '1mb'),
    heal: ({ primary }) => setMemory(primary, '0'),
  },
  {
    name: 'kill -9 of one server, started again after 2 s',
    prepare,
    lasts: 2000,
    strike: async (_, [a]) => void (await a.kill('SIGKILL')),
    heal: (_, [a]: readonly [Served, Served]) => a.startAgain(),
  },
];

async function setMemory(server: RedisServer, bytes: string): Promise<void> {
  const admin = server.client();
  await admin.config('SET', 'maxmemory', bytes);
  admin.disconnect();
}
