import { Redis, type SentinelConnectionOptions, SentinelConnector } from 'ioredis';
import type { HostAndPort } from '../../log/engine-url.ts';
import type { SentinelAddress } from './address.ts';

/** How long one Sentinel may take to say what it knows, ms. */
const askTimeout = 1000;

/** Private to the client library. */
interface Connecting {
  connectToSentinel(endpoint: unknown, options?: unknown): Redis;
}

/** The client library's way by Sentinels. What happens to its connections to them it would print, once for each attempt. */
export class QuietSentinels extends SentinelConnector {
  constructor(options: unknown) {
    super(options as SentinelConnectionOptions);
    const own = this as unknown as Connecting;
    const connect = own.connectToSentinel.bind(this);
    own.connectToSentinel = (endpoint, more) => {
      const sentinel = connect(endpoint, more);
      // one that is away is passed over, and when all are the connection to Redis tells
      sentinel.on('error', () => {});
      return sentinel;
    };
  }
}

/** Why no Sentinel will lead to the primary of this name; undefined when one knows it, or none says what it knows. */
export async function unknownPrimary({ sentinels, name }: SentinelAddress): Promise<string | undefined> {
  const known = await Promise.all(sentinels.map(primariesOf));
  const told = known.flatMap(names => names ?? []);
  if (known.every(names => names === undefined) || told.includes(name)) return undefined;
  const all = [...new Set(told)].sort();
  return (
    `its Sentinels know no primary ${JSON.stringify(name)}: ` +
    (all.length === 0
      ? 'they watch none, so set one up by SENTINEL MONITOR'
      : `they know ${all.join(', ')}, and its name follows the servers in the URL, …/${all[0]}`)
  );
}

async function primariesOf(sentinel: HostAndPort): Promise<readonly string[] | undefined> {
  const redis = new Redis({
    ...sentinel,
    protocol: 2,
    connectionName: 'tailrace primaries',
    lazyConnect: true,
    connectTimeout: askTimeout,
    commandTimeout: askTimeout,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false,
    retryStrategy: () => null,
  });
  redis.on('error', () => {});
  try {
    await redis.connect();
    const primaries = (await redis.call('SENTINEL', 'MASTERS')) as readonly (readonly string[])[];
    return primaries.map(fields => fields[fields.indexOf('name') + 1]!);
  } catch {
    return undefined;
  } finally {
    redis.disconnect();
  }
}
