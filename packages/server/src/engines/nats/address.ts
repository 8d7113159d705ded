import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { NodeConnectionOptions } from '@nats-io/transport-node';
import { readEngineUrl } from '../../log/engine-url.ts';

/** Where NATS is: `nats://[user:password@]host:port[,host:port]` or `nats://token@host:port`; `tls://…` for TLS. */
export function readAddress(url: string): NodeConnectionOptions {
  const { scheme, hosts, user, password } = readEngineUrl(url);
  return {
    servers: hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`),
    ...(scheme === 'tls' ? { tls: identityOf(hosts.map(({ host }) => host)) } : {}),
    ...(user === undefined ? {} : password === undefined ? { token: user } : { user, pass: password }),
  };
}

/** The client library compares certificates with host names alone: of a server that is an address it knows none. */
function identityOf(hosts: readonly string[]): NonNullable<NodeConnectionOptions['tls']> {
  const addresses = hosts.filter(host => isIP(host) !== 0);
  if (addresses.length === 0) return {};
  const check = (name: string, certificate: PeerCertificate): Error | undefined =>
    addresses.some(address => checkServerIdentity(address, certificate) === undefined)
      ? undefined
      : checkServerIdentity(addresses.length === hosts.length ? addresses[0]! : name, certificate);
  return { checkServerIdentity: check } as NonNullable<NodeConnectionOptions['tls']>;
}
