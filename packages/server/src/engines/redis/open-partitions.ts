import { systemClock } from '../../log/clock.ts';
import type { Log } from '../../log/log.ts';
import { logDefaults } from '../../log/options.ts';
import { withoutPassword } from '../../log/without-password.ts';
import { WovenLog } from '../../log/woven/woven-log.ts';
import { isCluster } from './address.ts';
import { isPassing, RedisConnection } from './connection.ts';
import { Keys } from './keys.ts';
import { openRedisLog, type RedisLogOptions, startTimeoutDefault } from './redis-log.ts';
import { Tail } from './tail.ts';

export interface PartitionedOptions extends RedisLogOptions {
  readonly name: string;
  /** Streams over which the topics are spread. They stay as many for the life of the log. */
  readonly partitions: number;
}

/** Opens the log that Redis holds in one stream or several. Rejects as `openRedisLog` does, and when it has another number of them. */
export async function openPartitions(options: PartitionedOptions): Promise<Log> {
  const { partitions, startTimeout, url, name } = options;
  const connection = new RedisConnection(url, new Keys(name).partitions, 'start', () => {});
  const stopWatch = systemClock.after(startTimeout ?? startTimeoutDefault, () => connection.close());
  let held: number;
  try {
    held = await agreeOnCount(connection, name, partitions);
  } catch (error) {
    if (isPassing(error))
      throw new Error(
        `the log cannot be opened: Redis at ${withoutPassword(url)} does not serve it: ${connection.lastError || 'it did not answer in time'}`,
      );
    throw error;
  } finally {
    stopWatch();
    connection.close();
  }
  if (held !== partitions)
    throw new Error(
      `the log ${name} in Redis has ${held} partition${held === 1 ? '' : 's'} and not ${partitions}: set redis.partitions to ${held}, or begin another log with redis.name`,
    );
  if (partitions === 1) return openRedisLog(options);
  // in a cluster each may be on another server
  const tail = isCluster(url) ? undefined : sharedTail(options);
  const settled = await Promise.allSettled(
    Array.from({ length: partitions }, (_, p) => openRedisLog({ ...partOf(options, p), tail })),
  );
  const opened = settled.flatMap(one => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = settled.find(one => one.status === 'rejected');
  if (failed === undefined) {
    const log = new WovenLog(opened, { hotBytes: options.hotBytes });
    tail?.start();
    return log;
  }
  await Promise.all(opened.map(log => log.close()));
  throw failed.reason;
}

function sharedTail({ url, name, onReport = () => {} }: PartitionedOptions): Tail {
  return new Tail(new RedisConnection(url, new Keys(name).partitions, 'tail', onReport), systemClock);
}

/** What belongs to the whole log is divided: memory, and what the log may hold. */
function partOf(options: PartitionedOptions, partition: number): RedisLogOptions {
  const { partitions, name, hotBytes = logDefaults.hotBytes, retention } = options;
  const bytes = retention?.bytes;
  return {
    ...options,
    // no name has a slash: no log of one stream is taken for a part
    name: `${name}/${partition}`,
    partition,
    hotBytes: hotBytes / partitions,
    retention: { ...retention, bytes: bytes === undefined ? undefined : bytes / partitions },
  };
}

/** How many streams there are. That decides in which of them a topic is: what was written with another would not be found. */
async function agreeOnCount(connection: RedisConnection, name: string, partitions: number): Promise<number> {
  const keys = new Keys(name);
  return connection.ask(async redis => {
    if ((await redis.exists(keys.state)) === 1) return 1;
    const agreed = await redis.get(keys.partitions);
    if (agreed !== null) return Number(agreed);
    // of several that start at once the first decides
    await redis.set(keys.partitions, partitions, 'NX');
    return Number(await redis.get(keys.partitions));
  });
}
