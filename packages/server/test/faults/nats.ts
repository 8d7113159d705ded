import { FaultyProxy } from '../engines/faulty-proxy.ts';
import { NatsServer } from '../engines/nats-server.ts';
import { type CommonStage, commonFaults } from './common.ts';
import type { Fault } from './run.ts';

/** One server of NATS, or three that are one; both nodes reach it, or the first of them, through proxies. */
class NatsStage implements CommonStage {
  readonly servers: readonly NatsServer[];
  readonly proxies: readonly [FaultyProxy, FaultyProxy];
  readonly flags: readonly string[];
  putBack: () => void = () => {};
  killed: NatsServer | undefined;

  private constructor(servers: readonly NatsServer[], proxies: readonly [FaultyProxy, FaultyProxy]) {
    this.servers = servers;
    this.proxies = proxies;
    this.flags = servers.length === 1 ? ['--nats.synced'] : ['--nats.replicas', String(servers.length)];
  }

  static async open(size = 1): Promise<NatsStage> {
    const servers = size === 1 ? [await NatsServer.start()] : await NatsServer.cluster(size);
    const { port } = servers[0]!;
    const stage = new NatsStage(servers, [await FaultyProxy.start(port), await FaultyProxy.start(port)]);
    if (size > 1) await stage.#hasLeader();
    return stage;
  }

  get server(): NatsServer {
    return this.servers[0]!;
  }

  get engines(): [string, string] {
    const others = this.servers.slice(1).map(({ port }) => `,127.0.0.1:${port}`);
    const [one, other] = this.proxies.map(({ port }) => `nats://127.0.0.1:${port}${others.join('')}`);
    return [one!, other!];
  }

  /** The server that leads the stream of the log. */
  async leader(): Promise<NatsServer> {
    const client = await this.server.client();
    const answer = await client.request('$JS.API.STREAM.INFO.tailrace-0');
    await client.close();
    return this.servers[Number(answer.json<{ cluster: { leader: string } }>().cluster.leader.slice(1))]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const proxy of this.proxies) await proxy.close();
    await Promise.all(this.servers.map(server => server.stop('SIGKILL')));
  }

  async #hasLeader(): Promise<void> {
    for (;;) {
      const client = await this.server.client();
      const answer = await client.request('$JS.API.INFO').catch(() => undefined);
      await client.close();
      if (answer !== undefined && answer.json<{ error?: unknown }>().error === undefined) return;
      await new Promise(resolve => setTimeout(resolve, 200));
    }
  }
}

const prepare = (): Promise<NatsStage> => NatsStage.open();

export const natsFaults: readonly Fault<NatsStage>[] = [
  ...commonFaults('NATS', prepare),
  {
    name: 'a power loss that takes the last second',
    prepare,
    lasts: 1000,
    losesAcked: true,
    strike: async stage => {
      await stage.server.stop();
      stage.putBack = stage.server.keep();
      await stage.server.start();
      await new Promise(resolve => setTimeout(resolve, 1500));
      await stage.server.stop('SIGKILL');
    },
    heal: async ({ server, putBack }) => {
      putBack();
      await server.start();
    },
  },
  {
    name: 'three servers: kill -9 of the leader, started again after 15 s',
    prepare: () => NatsStage.open(3),
    lasts: 15_000,
    strike: async stage => {
      stage.killed = await stage.leader();
      await stage.killed.stop('SIGKILL');
    },
    heal: async ({ killed }) => killed!.start(),
  },
];
