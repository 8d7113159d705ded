/** Sentinels, and what they know the primary by. */
export interface SentinelAddress {
  readonly sentinels: HostAndPort[];
  readonly name: string;
  readonly db: number;
  readonly failoverDetector: true;
  readonly username?: string;
  readonly password?: string;
}

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** Some of the nodes of a Redis Cluster. */
export interface ClusterAddress {
  readonly nodes: readonly HostAndPort[];
  readonly username?: string;
  readonly password?: string;
}

const sentinelPort = 26_379;
const redisPort = 6379;

/** Whether the server is a Redis Cluster. */
export function isCluster(url: string): boolean {
  return url.startsWith('redis+cluster:');
}

/** Reads `redis+cluster://[user:password@]host:port,host:port`. */
export function readClusterAddress(url: string): ClusterAddress {
  const match = /^redis\+cluster:\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)$/.exec(url);
  if (match === null)
    throw new Error(`the url of a cluster is redis+cluster://[user:password@]host:port,host:port, without a database`);
  const [, username, password, hosts] = match;
  return { nodes: hosts!.split(',').map(host => readHost(host, redisPort)), ...readUser(username, password) };
}

/**
 * Where Redis is: `redis://[user:password@]host:port[/database]`, `rediss://…` for TLS, or
 * `redis+sentinel://[user:password@]host:port,host:port/<name of the primary>[/database]`, whose hosts are Sentinels.
 */
export function readAddress(url: string): string | SentinelAddress {
  const match = /^redis\+sentinel:\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)\/([^/]+)(?:\/(\d+))?$/.exec(url);
  if (match === null) return url;
  const [, username, password, hosts, name, database] = match;
  return {
    sentinels: hosts!.split(',').map(host => readHost(host, sentinelPort)),
    name: decodeURIComponent(name!),
    db: Number(database ?? 0),
    // a connection that a failover leaves behind is given up at once
    failoverDetector: true,
    ...readUser(username, password),
  };
}

function readHost(text: string, portDefault: number): HostAndPort {
  const colon = text.lastIndexOf(':');
  if (colon === -1) return { host: text, port: portDefault };
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

function readUser(
  username: string | undefined,
  password: string | undefined,
): { readonly username?: string; readonly password?: string } {
  return {
    ...(username ? { username: decodeURIComponent(username) } : {}),
    ...(password ? { password: decodeURIComponent(password) } : {}),
  };
}
