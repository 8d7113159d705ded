import type { Redis } from 'ioredis';
import type { StoredDurability } from '../../log/record.ts';

/** What is asked of a server. */
export interface Demands {
  /** Replicas that it must have. */
  readonly replicas: number;
  /** Class of durability that it must keep; undefined for whatever it keeps. */
  readonly durability: StoredDurability | undefined;
}

/**
 * Which promises this server can keep. Rejects when the log must not live on it: it is a replica, too old, drops keys when
 * its memory is full, or keeps less than is asked of it.
 */
export async function judgeServer(
  redis: Redis,
  { replicas, durability }: Demands,
): Promise<readonly StoredDurability[]> {
  const info = fieldsOf(await redis.info());
  const version = info.get('redis_version') ?? '0';
  if (Number.parseFloat(version) < 6.2) throw new Error(`it is Redis ${version}; the log needs 6.2 or newer`);
  if (info.get('role') !== 'master') throw new Error(`it is a ${info.get('role')}: the url has to name the primary`);
  const policy = info.get('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction')
    throw new Error(`its maxmemory-policy is ${policy}, which drops records silently: set it to noeviction`);
  const connected = Number(info.get('connected_slaves') ?? 0);
  if (connected < replicas)
    throw new Error(`it has ${connected} replicas, and redis.replicas is ${replicas}: no publish could be acked`);
  const durabilities = await durabilitiesOf(redis, info);
  if (durability === undefined || durabilities.includes(durability)) return durabilities;
  throw new Error(
    durabilities.length === 0
      ? `durability is ${durability}, and it keeps nothing on disk: set appendonly yes there, and appendfsync always for fsync`
      : `durability is ${durability}, and it keeps no more than ${durabilities.join(', ')}: set appendfsync always there, or durability written here`,
  );
}

async function durabilitiesOf(redis: Redis, info: ReadonlyMap<string, string>): Promise<readonly StoredDurability[]> {
  if (info.get('aof_enabled') !== '1') return [];
  return (await syncsAlways(redis)) ? ['fsync', 'written'] : ['written'];
}

/** Managed servers refuse CONFIG: then nothing is promised that cannot be seen. */
async function syncsAlways(redis: Redis): Promise<boolean> {
  try {
    const [, value] = (await redis.config('GET', 'appendfsync')) as string[];
    return value === 'always';
  } catch {
    return false;
  }
}

function fieldsOf(info: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of info.split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}
