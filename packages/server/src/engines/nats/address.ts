import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { NodeConnectionOptions } from '@nats-io/transport-node';
import { withoutPassword } from '../../log/without-password.ts';

/** Where NATS is: `nats://[user:password@]host:port[,host:port]` or `nats://token@host:port`; `tls://…` for TLS. */
export function readAddress(url: string): NodeConnectionOptions {
  const match = /^(nats|tls):\/\/(?:([^/@]*)@)?([^/@]+)$/.exec(url);
  if (match === null)
    throw new Error(`engine ${withoutPassword(url)} is not nats://[user:password@]host:port[,host:port]`);
  const [, scheme, secret = '', hosts] = match;
  const colon = secret.indexOf(':');
  const servers = hosts!.split(',');
  return {
    servers,
    ...(scheme === 'tls' ? { tls: identityOf(servers) } : {}),
    ...(secret === '' ? {} : colon === -1 ? { token: decodeURIComponent(secret) } : credentials(secret, colon)),
  };
}

function credentials(secret: string, colon: number): { user: string; pass: string } {
  return { user: decodeURIComponent(secret.slice(0, colon)), pass: decodeURIComponent(secret.slice(colon + 1)) };
}

/** The client library compares certificates with host names alone: of a server that is an address it knows none. */
function identityOf(servers: readonly string[]): NonNullable<NodeConnectionOptions['tls']> {
  const addresses = servers.map(server => server.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')).filter(isIP);
  if (addresses.length === 0) return {};
  const check = (name: string, certificate: PeerCertificate): Error | undefined =>
    addresses.some(address => checkServerIdentity(address, certificate) === undefined)
      ? undefined
      : checkServerIdentity(addresses.length === servers.length ? addresses[0]! : name, certificate);
  return { checkServerIdentity: check } as NonNullable<NodeConnectionOptions['tls']>;
}
