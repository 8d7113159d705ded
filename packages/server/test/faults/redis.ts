import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
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
  #mounted: string | undefined;

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

  /** The primary's directory is a disk of 32 MiB. */
  static async openOnSmallDisk(): Promise<RedisStage> {
    const stage = await RedisStage.open();
    const { directory } = stage.primary;
    await stage.primary.stop();
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tailrace-faults', directory]);
    stage.#mounted = directory;
    await stage.primary.start();
    return stage;
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
    if (this.#mounted !== undefined) execFileSync('umount', [this.#mounted]);
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
    name: 'the disk of Redis full for 3 s',
    impossible: () => (process.getuid?.() === 0 ? undefined : 'only root may mount a small disk'),
    prepare: () => RedisStage.openOnSmallDisk(),
    lasts: 3000,
    // with appendfsync always Redis ends when it cannot write
    strike: async ({ primary }) => fillDisk(primary.directory),
    heal: async ({ primary }) => {
      rmSync(fillerIn(primary.directory));
      await primary.stop();
      await primary.start();
    },
  },
  {
    name: 'kill -9 of one server, started again after 2 s',
    prepare,
    lasts: 2000,
    strike: async (_, [a]) => void (await a.kill('SIGKILL')),
    heal: (_, [a]: readonly [Served, Served]) => a.startAgain(),
  },
];

const fillerIn = (directory: string): string => join(directory, 'filler');

function fillDisk(directory: string): void {
  const file = openSync(fillerIn(directory), 'w');
  const bytes = Buffer.alloc(64 * 1024);
  try {
    for (;;) writeSync(file, bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  } finally {
    closeSync(file);
  }
}

async function setMemory(server: RedisServer, bytes: string): Promise<void> {
  const admin = server.client();
  await admin.config('SET', 'maxmemory', bytes);
  admin.disconnect();
}
