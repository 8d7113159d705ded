import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { FaultyProxy } from '../engines/faulty-proxy.ts';
import { RedisServer } from '../engines/redis-server.ts';
import { until } from '../log/messages.ts';
import { type CommonStage, commonFaults } from './common.ts';
import type { Fault } from './run.ts';

/** A primary with a replica; both servers reach it through proxies, and so does the replica. */
class RedisStage implements CommonStage {
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

  get server(): RedisServer {
    return this.primary;
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

export const redisFaults: readonly Fault<RedisStage>[] = [
  ...commonFaults('Redis', prepare),
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
