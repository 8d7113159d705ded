/** Sentinels, and what they know the primary by. */
export interface SentinelAddress {
  readonly sentinels: { readonly host: string; readonly port: number }[];
  readonly name: string;
  readonly db: number;
  readonly failoverDetector: true;
  readonly username?: string;
  readonly password?: string;
}

const sentinelPort = 26_379;

/**
 * Where Redis is: `redis://[user:password@]host:port[/database]`, `rediss://…` for TLS, or
 * `redis+sentinel://[user:password@]host:port,host:port/<name of the primary>[/database]`, whose hosts are Sentinels.
 */
export function readAddress(url: string): string | SentinelAddress {
  const match = /^redis\+sentinel:\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)\/([^/]+)(?:\/(\d+))?$/.exec(url);
  if (match === null) return url;
  const [, username, password, hosts, name, database] = match;
  return {
    sentinels: hosts!.split(',').map(host => {
      const colon = host.lastIndexOf(':');
      return colon === -1
        ? { host, port: sentinelPort }
        : { host: host.slice(0, colon), port: Number(host.slice(colon + 1)) };
    }),
    name: decodeURIComponent(name!),
    db: Number(database ?? 0),
    // a connection that a failover leaves behind is given up at once
    failoverDetector: true,
    ...(username ? { username: decodeURIComponent(username) } : {}),
    ...(password ? { password: decodeURIComponent(password) } : {}),
  };
}
