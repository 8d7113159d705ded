import { isIPv4, isIPv6 } from 'node:net';

/** Host name and port as they stand in a `Host` header or an origin; the name in lower case, without a final dot. */
export interface Authority {
  readonly name: string;
  /** Undefined when none was written. */
  readonly port: number | undefined;
}

// No userinfo, path or escape can match: "localhost@evil.com" and "localhost%2eevil" are not names at all.
const pattern = /^([a-z0-9_](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?$/i;
const v4Loopback = /^127\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** Reads `name`, `name:port`, `[v6]` or `[v6]:port`; undefined for anything else. */
export function parseAuthority(text: string): Authority | undefined {
  const match = pattern.exec(text);
  if (match === null) return undefined;
  const port = match[2] === undefined ? undefined : Number(match[2]);
  if (port !== undefined && (port === 0 || port > 65_535)) return undefined;
  let name = match[1]!.toLowerCase();
  if (name.endsWith('.')) name = name.slice(0, -1);
  if (name.endsWith('.') || name.includes('..')) return undefined;
  return { name, port };
}

/** Whether the name can only mean this machine: `localhost`, 127.0.0.0/8 or `[::1]`, and nothing that resolves. */
export function isLoopbackName(name: string): boolean {
  if (name === 'localhost' || name === '[::1]' || name === '[0:0:0:0:0:0:0:1]') return true;
  const octets = v4Loopback.exec(name);
  return octets !== null && Number(octets[1]) <= 255 && Number(octets[2]) <= 255 && Number(octets[3]) <= 255;
}

/** Whether the name is an IP address: no resolver has a say in what it means. */
export function isAddress(name: string): boolean {
  return isIPv4(name) || (name.startsWith('[') && isIPv6(name.slice(1, -1)));
}
