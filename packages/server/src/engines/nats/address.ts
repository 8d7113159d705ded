import type { NodeConnectionOptions } from '@nats-io/transport-node';
import { readEngineUrl } from '../../log/engine-url.ts';

/** Where NATS is: `nats://[user:password@]host:port[,host:port]` or `nats://token@host:port`; `tls://…` for TLS. */
export function readAddress(url: string): NodeConnectionOptions {
  const { scheme, hosts, user, password } = readEngineUrl(url);
  return {
    servers: hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`),
    ...(scheme === 'tls' ? { tls: {} } : {}),
    ...(user === undefined ? {} : password === undefined ? { token: user } : { user, pass: password }),
  };
}
