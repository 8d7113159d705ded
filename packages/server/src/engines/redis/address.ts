import { type EngineUrl, type HostAndPort, readEngineUrl } from '../../log/engine-url.ts';

/** A user and password as the client library takes them. */
export interface Credentials {
  readonly username?: string;
  readonly password?: string;
}

/** One server. */
export interface ServerAddress extends HostAndPort, Credentials {
  readonly db: number;
  readonly tls?: Record<string, never>;
}

/** Sentinels, and what they know the primary by. */
export interface SentinelAddress extends Credentials {
  readonly sentinels: HostAndPort[];
  readonly name: string;
  readonly db: number;
  readonly failoverDetector: true;
}

/** Some of the nodes of a Redis Cluster. */
export interface ClusterAddress extends Credentials {
  readonly nodes: readonly HostAndPort[];
}

/** Whether the server is a Redis Cluster. */
export function isCluster(url: string): boolean {
  return url.startsWith('redis+cluster:');
}

/** Reads `redis+cluster://[user:password@]host:port,host:port`. */
export function readClusterAddress(url: string): ClusterAddress {
  const read = readEngineUrl(url);
  return { nodes: read.hosts, ...credentialsOf(read) };
}

/**
 * Where Redis is: `redis://[user:password@]host:port[/database]`, `rediss://…` for TLS, or
 * `redis+sentinel://[user:password@]host:port,host:port/<name of the primary>[/database]`, whose hosts are Sentinels.
 */
export function readAddress(url: string): ServerAddress | SentinelAddress {
  const read = readEngineUrl(url);
  const { scheme, hosts, primary, database } = read;
  if (primary !== undefined)
    return {
      sentinels: [...hosts],
      name: primary,
      db: database,
      // a connection that a failover leaves behind is given up at once
      failoverDetector: true,
      ...credentialsOf(read),
    };
  return { ...hosts[0]!, db: database, ...credentialsOf(read), ...(scheme === 'rediss' ? { tls: {} } : {}) };
}

function credentialsOf({ user, password }: EngineUrl): Credentials {
  return { ...(user ? { username: user } : {}), ...(password ? { password } : {}) };
}
