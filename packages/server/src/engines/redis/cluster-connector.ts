import { connect, type Socket } from 'node:net';
import { AbstractConnector, Redis } from 'ioredis';
import { systemClock } from '../../log/clock.ts';
import type { HostAndPort } from '../../log/engine-url.ts';
import type { ClusterAddress } from './address.ts';

/** A connection that is given up is not waited for, ms. */
const disconnectTimeout = 100;
/** How long a node may take to tell the slots, and the pause when none of them can, ms. */
const askTimeout = 2000;
const pauseAfterError = 500;

type SlotRange = [first: number, last: number, primary: [host: string | null, port: number], ...replicas: unknown[]];

/**
 * A way to the node of a Redis Cluster that has the keys of one log. They share one slot, so that whoever uses them talks to
 * that one node, over a plain connection: when the slot moves or its node fails, the connection is made again and leads to
 * the new one. (The client library's own cluster sends commands again by itself, which only we know whether it may.)
 */
export function clusterConnector(address: ClusterAddress, key: string): new () => AbstractConnector {
  return class extends ClusterConnector {
    constructor() {
      super(address, key);
    }
  };
}

class ClusterConnector extends AbstractConnector {
  readonly #address: ClusterAddress;
  readonly #key: string;
  /** Nodes that may know the slots. */
  #nodes: readonly HostAndPort[];

  constructor(address: ClusterAddress, key: string) {
    super(disconnectTimeout);
    this.#address = address;
    this.#key = key;
    this.#nodes = address.nodes;
  }

  override async connect(emit: (type: string, error: Error) => void): Promise<Socket> {
    this.connecting = true;
    const primary = await this.#primary(emit);
    const stream = connect(primary.port, primary.host);
    this.stream = stream;
    stream.once('error', error => {
      this.firstError = error;
    });
    return stream;
  }

  async #primary(emit: (type: string, error: Error) => void): Promise<HostAndPort> {
    for (;;) {
      let failed: unknown;
      for (const node of this.#nodes) {
        let found: HostAndPort | undefined;
        try {
          found = await this.#ask(node);
        } catch (error) {
          failed = error;
        }
        if (!this.connecting) throw new Error('the connection is closed');
        if (found !== undefined) return found;
      }
      emit('error', failed as Error);
      await new Promise<void>(resolve => systemClock.after(pauseAfterError, resolve));
    }
  }

  /** Asks a node of the cluster which of them has the slot. */
  async #ask(node: HostAndPort): Promise<HostAndPort> {
    const { nodes, ...user } = this.#address;
    const redis = new Redis({
      ...node,
      ...user,
      protocol: 2,
      connectionName: 'tailrace slots',
      lazyConnect: true,
      connectTimeout: askTimeout,
      commandTimeout: askTimeout,
      maxRetriesPerRequest: 0,
      enableReadyCheck: false,
      retryStrategy: () => null,
    });
    let lost: Error | undefined;
    redis.on('error', (error: Error) => {
      lost = error;
    });
    try {
      await redis.connect();
      const slot = Number(await redis.call('CLUSTER', 'KEYSLOT', this.#key));
      const ranges = (await redis.call('CLUSTER', 'SLOTS')) as SlotRange[];
      const range = ranges.find(([first, last]) => first <= slot && slot <= last);
      if (range === undefined) throw new Error(`no node of the cluster has slot ${slot}, that of ${this.#key}`);
      const at = ([host, port]: readonly [string | null, number]): HostAndPort => ({ host: host || node.host, port });
      // nodes come and go; those that the setting names are always asked too
      this.#nodes = distinct([...ranges.map(([, , primary]) => at(primary)), ...nodes]);
      return at(range[2]);
    } catch (error) {
      throw new Error(`${node.host}:${node.port}: ${(lost ?? (error as Error)).message}`);
    } finally {
      redis.disconnect();
    }
  }
}

function distinct(nodes: readonly HostAndPort[]): HostAndPort[] {
  return [...new Map(nodes.map(node => [`${node.host}:${node.port}`, node])).values()];
}
