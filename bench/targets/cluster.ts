// Two servers on one Redis, all three on the servers' core: what is published at the first is subscribed to at the second.
import { type RedisTarget, type Sync, startRedis } from './redis.ts';
import { startSocketIo } from './socket-io.ts';
import { startTailrace } from './tailrace.ts';
import type { Target } from './target.ts';

export interface Cluster extends Target {
  readonly redis: RedisTarget;
}

/** `sync` decides what an ack can promise: `fsync` or `written`. */
export function startTailraceCluster(sync: Sync, profile?: string): Promise<Cluster> {
  const durability = sync === 'always' ? 'fsync' : 'written';
  return startCluster(sync, ({ url }) => startTailrace(profile, '--engine', url, '--durability', durability));
}

export function startSocketIoCluster(sync: Sync): Promise<Cluster> {
  return startCluster(sync, ({ url }) => startSocketIo(url));
}

async function startCluster(sync: Sync, startNode: (redis: RedisTarget) => Promise<Target>): Promise<Cluster> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis(sync));
  const first = stack.use(await startNode(redis));
  const second = stack.use(await startNode(redis));
  const all = stack.move();
  return {
    ...second,
    redis,
    publish: first.publish,
    pids: () => [...redis.pids(), ...first.pids(), ...second.pids()],
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
