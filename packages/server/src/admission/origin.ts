import { TailraceError } from '@tailrace/protocol';
import { type Authority, isAddress, isLoopbackName, parseAuthority } from './authority.ts';

export interface OriginOptions {
  /** Origins served beside the server's own, such as `https://app.example.com`; `*` is every page. */
  readonly origins: readonly string[];
  /** Names without port under which an unauthenticated server answers, beside loopback names. */
  readonly hosts: readonly string[];
  /** Whether an IP address as `Host` is served too, without authentication. */
  readonly addresses?: boolean;
  /** Whether requests have to prove who they are: then any `Host` is served. */
  readonly authenticated: boolean;
}

/** The three headers that decide, as they came. */
export interface OriginRequest {
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly secFetchSite: string | undefined;
}

/** Refused, or served; then `allowOrigin` is what `Access-Control-Allow-Origin` says, if anything. */
export type OriginVerdict = { readonly error: TailraceError } | { readonly allowOrigin: string | undefined };

/** Verdicts kept; keys longer than `keyMax` are not, so that a flood of odd headers costs at most 512 KiB. */
const keptMax = 1024;
const keyMax = 256;

const originPattern = /^(https?):\/\/(.+)$/;
/** The loopback origins that need no setting. Narrower than loopback hosts: these are what dev servers use. */
const loopbackOrigins = new Set(['localhost', '127.0.0.1', '[::1]']);

/**
 * Which pages may talk to this server, and under which names it answers (protocol.md §9). Asked for every request and
 * upgrade before its body is read, so verdicts are kept.
 */
export class OriginPolicy {
  readonly #origins: ReadonlySet<string>;
  readonly #anyOrigin: boolean;
  readonly #hosts: ReadonlySet<string>;
  readonly #authenticated: boolean;
  readonly #addresses: boolean;
  readonly #kept = new Map<string, OriginVerdict>();

  constructor(options: OriginOptions) {
    this.#origins = new Set(options.origins.filter(origin => origin !== '*').map(canonicalOrigin));
    this.#anyOrigin = options.origins.includes('*');
    this.#hosts = new Set(options.hosts.map(host => host.toLowerCase().replace(/\.$/, '')));
    this.#authenticated = options.authenticated;
    this.#addresses = options.addresses ?? false;
  }

  /** Hot. */
  check(request: OriginRequest): OriginVerdict {
    const { host, origin, secFetchSite } = request;
    // header values hold no LF; an absent Origin and an empty one must not share a verdict
    const key = `${host}\n${origin === undefined ? '' : `=${origin}`}\n${secFetchSite}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    const verdict = this.#judge(host, origin, secFetchSite);
    if (key.length <= keyMax) {
      if (this.#kept.size >= keptMax) this.#kept.clear();
      this.#kept.set(key, verdict);
    }
    return verdict;
  }

  #judge(host: string | undefined, origin: string | undefined, site: string | undefined): OriginVerdict {
    if (host === undefined || host === '')
      return { error: new TailraceError('bad_request', 'the request has no Host header, which HTTP/1.1 requires') };
    const here = parseAuthority(host);
    if (here === undefined)
      return { error: new TailraceError('bad_request', `the Host header ${shown(host)} is not a host name with port`) };
    const loopback = isLoopbackName(here.name);
    const known = loopback || this.#hosts.has(here.name) || (this.#addresses && isAddress(here.name));
    if (!this.#authenticated && !known) {
      return {
        error: new TailraceError(
          'host_refused',
          `without authentication this server answers to loopback names only, not to ${shown(here.name)}; add it to "hosts" if it is this server's`,
        ),
      };
    }
    if (origin === undefined) {
      // of several, which no browser sends, the worst counts
      if (site?.split(',').some(each => each.trim().toLowerCase() === 'cross-site') === true)
        return { error: refused('a page of another site made this request (Sec-Fetch-Site: cross-site)') };
      return { allowOrigin: undefined };
    }
    return this.#allows(origin, here, loopback)
      ? { allowOrigin: origin }
      : { error: refused(`pages of ${shown(origin)} may not talk to this server; "origins" lists those that may`) };
  }

  #allows(origin: string, here: Authority, loopback: boolean): boolean {
    // sandboxed frames, files and redirects: nobody can say who that is
    const match = originPattern.exec(origin);
    const from = match === null ? undefined : parseAuthority(match[2]!);
    if (match === null || from === undefined) return false;
    if (this.#anyOrigin || this.#origins.has(canonicalOrigin(origin))) return true;
    const usual = match[1] === 'https' ? 443 : 80;
    // the scheme this server is reached by is not known here (a proxy may end TLS), so Host's usual port is Origin's
    if (from.name === here.name && (from.port ?? usual) === (here.port ?? usual)) return true;
    return !this.#authenticated && loopback && this.#origins.size === 0 && loopbackOrigins.has(from.name);
  }
}

/** Lower case, without final dot and usual port: how browsers write an origin. What is no origin stays as it is. */
function canonicalOrigin(text: string): string {
  const match = originPattern.exec(text.toLowerCase());
  const authority = match === null ? undefined : parseAuthority(match[2]!);
  if (match === null || authority === undefined) return text;
  const usual = match[1] === 'https' ? 443 : 80;
  const port = authority.port === undefined || authority.port === usual ? '' : `:${authority.port}`;
  return `${match[1]}://${authority.name}${port}`;
}

function refused(detail: string): TailraceError {
  return new TailraceError('origin_refused', detail);
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
