import type { Redis } from 'ioredis';
import { freePort } from '../cli/served.ts';
import { until } from '../log/messages.ts';
import { RedisServer } from './redis-server.ts';

interface Node {
  readonly server: RedisServer;
  readonly client: Redis;
  readonly id: string;
  readonly busPort: number;
}

/** A real Redis Cluster of three primaries; the one that has the keys of `{tailrace}` has a replica. */
export class RedisCluster {
  /** Those of the slot and of no slot of ours. */
  readonly owner: Node;
  readonly replica: Node;
  readonly others: readonly Node[];
  readonly slot: number;

  private constructor(owner: Node, replica: Node, others: readonly Node[], slot: number) {
    this.owner = owner;
    this.replica = replica;
    this.others = others;
    this.slot = slot;
  }

  static async start(): Promise<RedisCluster> {
    const nodes = await Promise.all([0, 1, 2, 3].map(startNode));
    try {
      return await RedisCluster.#of(nodes);
    } catch (error) {
      await stopAll(nodes);
      throw error;
    }
  }

  static async #of(nodes: readonly Node[]): Promise<RedisCluster> {
    const [first, second, third, fourth] = nodes as [Node, Node, Node, Node];
    const slot = Number(await first.client.call('CLUSTER', 'KEYSLOT', '{tailrace}'));
    for (const { server, busPort } of nodes.slice(1))
      await first.client.call('CLUSTER', 'MEET', '127.0.0.1', server.port, busPort);
    const primaries = [first, second, third];
    for (const [i, { client }] of primaries.entries())
      await client.call('CLUSTER', 'ADDSLOTSRANGE', i * 5461, i === 2 ? 16_383 : i * 5461 + 5460);
    const owner = primaries[Math.min(2, Math.floor(slot / 5461))]!;
    await until('they know each other', () => every(nodes, ({ known }) => known === 4));
    await fourth.client.call('CLUSTER', 'REPLICATE', owner.id);
    await until('all slots are served', () => every(nodes, ({ state }) => state === 'ok'));
    const cluster = new RedisCluster(
      owner,
      fourth,
      primaries.filter(node => node !== owner),
      slot,
    );
    await until('the replica is there', () => cluster.replicated());
    return cluster;
  }

  /** Names two of the nodes, of which none has our slot. */
  get url(): string {
    return `redis+cluster://${this.others.map(({ server }) => `127.0.0.1:${server.port}`).join(',')}`;
  }

  /** Whether the replica has all. */
  async replicated(): Promise<boolean> {
    const info = await this.owner.client.info('replication');
    const [, offset] = /master_repl_offset:(\d+)/.exec(info) ?? [];
    return info.includes('state=online') && info.includes(`offset=${offset},`);
  }

  /**
   * Moves our slot and all that is in it, as `redis-cli --cluster reshard` does; `inBetween` when there is one key less here
   * than there was: that which `first` matches, if any.
   */
  async move(
    from: Node,
    to: Node,
    first: RegExp = /^/,
    inBetween: () => Promise<void> = async () => {},
  ): Promise<void> {
    await to.client.call('CLUSTER', 'SETSLOT', this.slot, 'IMPORTING', from.id);
    await from.client.call('CLUSTER', 'SETSLOT', this.slot, 'MIGRATING', to.id);
    const keys = (await from.client.call('CLUSTER', 'GETKEYSINSLOT', this.slot, 1000)) as string[];
    keys.sort((one, other) => Number(first.test(other)) - Number(first.test(one)));
    for (const [i, key] of keys.entries()) {
      await from.client.call('MIGRATE', '127.0.0.1', to.server.port, key, 0, 5000);
      if (i === 0) await inBetween();
    }
    for (const { client } of [to, from, ...this.others])
      await client.call('CLUSTER', 'SETSLOT', this.slot, 'NODE', to.id);
  }

  stop(): Promise<void> {
    return stopAll([this.owner, this.replica, ...this.others]);
  }
}

async function stopAll(nodes: readonly Node[]): Promise<void> {
  for (const { client, server } of nodes) {
    client.disconnect();
    await server.stop('SIGKILL');
  }
}

async function startNode(): Promise<Node> {
  const busPort = await freePort();
  const server = await RedisServer.start(
    ...['--cluster-enabled', 'yes', '--cluster-port', String(busPort)],
    ...['--cluster-announce-ip', '127.0.0.1', '--cluster-node-timeout', '1000'],
  );
  const client = server.client();
  // it may be killed
  client.on('error', () => {});
  return { server, client, id: String(await client.call('CLUSTER', 'MYID')), busPort };
}

async function every(
  nodes: readonly Node[],
  holds: (told: { readonly state: string; readonly known: number }) => boolean,
): Promise<boolean> {
  const infos = await Promise.all(nodes.map(({ client }) => client.call('CLUSTER', 'INFO') as Promise<string>));
  return infos.every(info =>
    holds({
      state: /cluster_state:(\w+)/.exec(info)![1]!,
      known: Number(/cluster_known_nodes:(\d+)/.exec(info)![1]),
    }),
  );
}
