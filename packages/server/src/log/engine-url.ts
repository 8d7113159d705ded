import { nearest } from '@tailrace/protocol';
import { withoutPassword } from './without-password.ts';

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** What the URL of a shared engine says, `scheme://[user[:password]@]host[:port][,host[:port]][/name][/database]`. */
export interface EngineUrl {
  readonly scheme: EngineScheme;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly hosts: readonly HostAndPort[];
  /** By which Sentinels know the primary. */
  readonly primary: string | undefined;
  readonly database: number;
}

interface Form {
  readonly port: number;
  /** Takes several servers. */
  readonly several: boolean;
  /** What may follow the servers. */
  readonly path: 'database' | 'primary' | undefined;
  /** What it is, for people. */
  readonly what: string;
}

const redis: Form = { port: 6379, several: false, path: 'database', what: 'Redis' };
const redisCluster: Form = { port: 6379, several: true, path: undefined, what: 'a Redis Cluster' };
const sentinels: Form = { port: 26_379, several: true, path: 'primary', what: 'Sentinels' };
const kafka: Form = { port: 9092, several: true, path: undefined, what: 'Kafka' };
const nats: Form = { port: 4222, several: true, path: undefined, what: 'NATS' };

export type EngineScheme =
  | 'redis'
  | 'rediss'
  | 'redis+sentinel'
  | 'redis+cluster'
  | 'kafka'
  | 'kafkas'
  | 'nats'
  | 'tls';

const forms: Readonly<Record<EngineScheme, Form>> = {
  redis,
  rediss: redis,
  'redis+sentinel': sentinels,
  'redis+cluster': redisCluster,
  kafka,
  kafkas: kafka,
  nats,
  tls: nats,
};

const schemes = Object.keys(forms) as readonly EngineScheme[];
const allowed = 'write disk, memory, or a URL such as redis://127.0.0.1:6379, kafka://… or nats://…';
const databasesMost = 10_000;

/** Why the setting `engine` cannot be this; undefined when it can. */
export function engineFault(setting: string): string | undefined {
  if (setting === 'disk' || setting === 'memory') return undefined;
  try {
    readEngineUrl(setting);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Reads the URL of a shared engine. Throws an Error that says what is wrong with it and what to write instead. */
export function readEngineUrl(url: string): EngineUrl {
  const match = /^([^:/]*):\/\/(.*)$/s.exec(url);
  if (match === null) throw notAUrl(url);
  const [, written = '', rest = ''] = match;
  const scheme = schemes.find(known => known === written);
  if (scheme === undefined)
    throw unknown(
      `${written}://`,
      schemes.map(known => `${known}://`),
    );
  const form = forms[scheme];
  if (/\s/.test(rest)) throw new Error('there is a space in it: write %20 for one that belongs to a password');
  const at = rest.lastIndexOf('@');
  const { user, password } = readUser(scheme, at === -1 ? undefined : rest.slice(0, at));
  const place = rest.slice(at + 1);
  if (place.includes('://'))
    throw new Error(`the scheme is written once, in front: ${scheme}://host:${form.port},host:${form.port}`);
  if (/[?#]/.test(place))
    throw new Error(`it goes on with ${/[?#]/.exec(place)![0]}, which means nothing here: leave that and the rest out`);
  const slash = place.indexOf('/');
  const servers = slash === -1 ? place : place.slice(0, slash);
  const hosts = readHosts(scheme, form, servers);
  const path = slash === -1 ? [] : place.slice(slash + 1).split('/');
  return { scheme, user, password, hosts, ...readPath(scheme, form, servers, path) };
}

function notAUrl(text: string): Error {
  const shown = withoutPassword(text);
  const [scheme] = /^[a-z+]+(?=:\/?[^/])/.exec(text) ?? [];
  if (scheme !== undefined && scheme in forms)
    return new Error(`two slashes are missing: write ${scheme}://${shown.replace(/^[a-z+]+:\/?/, '')}`);
  if (/^[\w.-]+:\d+$/.test(text))
    return new Error(`it does not say what runs there: write redis://${text}, for instance`);
  return unknown(shown, ['disk', 'memory']);
}

function unknown(written: string, known: readonly string[]): Error {
  const close = nearest(written, known);
  return new Error(close === undefined ? allowed : `did you mean ${close}?`);
}

function readUser(
  scheme: EngineScheme,
  text: string | undefined,
): { readonly user: string | undefined; readonly password: string | undefined } {
  if (text === undefined) return { user: undefined, password: undefined };
  if (/[@/?#]/.test(text))
    throw new Error(
      'its user or password has a character that has to be written as a code: %40 for @, %2F for /, %3F for ?, %23 for #',
    );
  const colon = text.indexOf(':');
  // of NATS that is a token
  if (colon === -1 && forms[scheme] !== nats)
    throw new Error(
      `it has a user and no password before the @: write ${scheme}://user:password@…${forms[scheme] === kafka ? '' : `, or ${scheme}://:password@… for a password alone`}`,
    );
  const user = decoded(colon === -1 ? text : text.slice(0, colon), 'user');
  const password = colon === -1 ? undefined : decoded(text.slice(colon + 1), 'password');
  if (forms[scheme] === kafka && (user === '' || password === ''))
    throw new Error(`Kafka needs a user and a password: write ${scheme}://user:password@…`);
  return { user, password };
}

function decoded(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(`its ${what} has a % that begins no code of a character: write %25 for a % itself`);
  }
}

function readHosts(scheme: EngineScheme, form: Form, servers: string): readonly HostAndPort[] {
  if (servers === '') throw new Error(`it names no server: write ${scheme}://host:${form.port}`);
  const parts = servers.split(',');
  if (parts.length > 1 && !form.several)
    throw new Error(
      `it names ${parts.length} servers, and ${scheme}:// takes one: write redis+sentinel://${servers}/<name of the primary> ` +
        `when they are Sentinels, or redis+cluster://${servers} when they are nodes of a Redis Cluster`,
    );
  return parts.map(part => readHost(form, part));
}

function readHost({ port: usual }: Form, text: string): HostAndPort {
  if (text === '') throw new Error('a comma in it has no server beside it: leave it out, or name one');
  const match = /^(\[[^\]]*\]|[^:[\]]*)(?::([^:]*))?$/.exec(text);
  if (match === null)
    throw new Error(`its server ${text} has more than one colon: write an IPv6 address in brackets, [::1]:${usual}`);
  const [, written = '', port] = match;
  const host = written.replace(/^\[|\]$/g, '');
  if (host === '') throw new Error(`its server ${text} has no name before the colon: write host:${port}`);
  if (port === undefined) return { host, port: usual };
  if (port === '') throw new Error(`the port of ${written} is missing: write ${written}:${usual}`);
  const number = Number(port);
  if (!/^\d{1,5}$/.test(port) || number < 1 || number > 65_535)
    throw new Error(`the port of ${written} is ${port}, which is no number from 1 to 65535: write ${written}:${usual}`);
  return { host, port: number };
}

function readPath(
  scheme: EngineScheme,
  { path: kind, what }: Form,
  servers: string,
  path: readonly string[],
): { readonly primary: string | undefined; readonly database: number } {
  const before = `${scheme}://${servers}`;
  const given = path.length === 1 && path[0] === '' ? [] : path;
  if (kind === undefined) {
    if (given.length > 0)
      throw new Error(`${what} has no databases: leave out /${given.join('/')}, ${whatInstead(scheme)}`);
    return { primary: undefined, database: 0 };
  }
  const names = kind === 'primary' ? 1 : 0;
  const name = names === 0 ? undefined : decoded(given[0] ?? '', 'name of the primary');
  if (name === '')
    throw new Error(
      `it does not say what the Sentinels call the primary: write ${before}/mymaster, if that is its name`,
    );
  const database = given[names];
  if (database !== undefined && (!/^\d{1,4}$/.test(database) || Number(database) >= databasesMost))
    throw new Error(
      `its database is ${JSON.stringify(database)}, and Redis has numbers for them: write ${before}${name === undefined ? '' : `/${given[0]}`}/0`,
    );
  if (given.length > names + 1)
    throw new Error(`nothing may follow the database: leave out /${given.slice(names + 1).join('/')}`);
  return { primary: name, database: Number(database ?? 0) };
}

function whatInstead(scheme: EngineScheme): string {
  const setting = forms[scheme] === kafka ? 'kafka.name' : forms[scheme] === nats ? 'nats.name' : 'redis.name';
  return `and give the log a name by ${setting} if it is to be one of several`;
}
