import { systemClock } from '../../log/clock.ts';
import type { Log } from '../../log/log.ts';
import { joined, openEach, shareOf } from '../all-partitions.ts';
import { notServed } from '../not-served.ts';
import type { Partitioned } from '../server-options.ts';
import { isCluster, readAddress } from './address.ts';
import { isPassing, RedisConnection } from './connection.ts';
import { Keys } from './keys.ts';
import { openRedisLog, type RedisLogOptions, startTimeoutDefault } from './redis-log.ts';
import { unknownPrimary } from './sentinels.ts';
import { Tail } from './tail.ts';

export interface PartitionedOptions extends RedisLogOptions, Partitioned {
  readonly name: string;
}

/** Opens the log that Redis holds in one stream or several. Rejects as `openRedisLog` does, and when it has another number of them. */
export async function openPartitions(options: PartitionedOptions): Promise<Log> {
  const { partitions, startTimeout, url, name } = options;
  await knowsPrimary(url);
  const connection = new RedisConnection(url, new Keys(name).partitions, 'start', () => {});
  const stopWatch = systemClock.after(startTimeout ?? startTimeoutDefault, () => connection.close());
  let held: number;
  try {
    held = await agreeOnCount(connection, name, partitions);
  } catch (error) {
    if (isPassing(error)) throw notServed('Redis', url, connection.lastError || 'it did not answer in time');
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
  const logs = await openEach(partitions, partition => openRedisLog({ ...partOf(options, partition), tail }));
  const log = joined(logs, options);
  tail?.start();
  return log;
}

function sharedTail({ url, name, onReport = () => {} }: PartitionedOptions): Tail {
  return new Tail(new RedisConnection(url, new Keys(name).partitions, 'tail', onReport), systemClock);
}

/** Sentinels that do not know the primary would be asked until the start gives up. */
async function knowsPrimary(url: string): Promise<void> {
  if (isCluster(url)) return;
  const address = readAddress(url);
  const why = 'sentinels' in address ? await unknownPrimary(address) : undefined;
  if (why !== undefined) throw notServed('Redis', url, why);
}

function partOf(options: PartitionedOptions, partition: number): RedisLogOptions {
  const { partitions, name } = options;
  // no name has a slash: no log of one stream is taken for a part
  return { ...options, ...shareOf(options, partitions), name: `${name}/${partition}`, partition };
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
