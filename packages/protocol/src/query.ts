import { TailraceError } from './errors.ts';
import { didYouMean } from './nearest.ts';
import { setAside, unsupported } from './set-aside.ts';

/** Parameters of a query string: repeatable names in order of appearance. */
export type Query = ReadonlyMap<string, readonly string[]>;

/**
 * The one decoder of query strings (§2). `+` is a space, as URLSearchParams writes it. Throws `unsupported` for a name
 * in `later`, `unknown_field` for any other that is not in `known` (names that begin with `_` are ignored) and
 * `bad_request` for a broken percent-escape.
 */
export function parseQuery(text: string, known: readonly string[], later: readonly string[] = []): Query {
  const query = new Map<string, string[]>();
  if (text === '') return query;
  for (const pair of text.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decode(equals === -1 ? pair : pair.slice(0, equals));
    if (name.startsWith('_')) continue;
    if (!known.includes(name)) throw refused(name, known, later);
    const value = equals === -1 ? '' : decode(pair.slice(equals + 1));
    const values = query.get(name);
    if (values === undefined) query.set(name, [value]);
    else values.push(value);
  }
  return query;
}

function refused(name: string, known: readonly string[], later: readonly string[]): TailraceError {
  if (later.includes(name) || setAside.request.includes(name)) return unsupported(name);
  const hint = known.length === 0 ? ': this path takes none' : didYouMean(name, known);
  const shown = name.slice(0, 64);
  return new TailraceError('unknown_field', `no query parameter ${JSON.stringify(shown)} here${hint}`, {
    at: { field: shown },
  });
}

/** The one value of a parameter that may come once; undefined when absent. */
export function single(query: Query, name: string): string | undefined {
  const values = query.get(name);
  if (values === undefined) return undefined;
  if (values.length > 1)
    throw new TailraceError('bad_request', `query parameter ${name} may be given once`, { at: { field: name } });
  return values[0];
}

/**
 * A filter as it came from a URL: a level that is exactly one space is the wildcard `+`, which URLSearchParams and
 * form decoding turn into a space on the way.
 */
export function urlFilter(value: string): string {
  return value.includes(' ')
    ? value
        .split('/')
        .map(level => (level === ' ' ? '+' : level))
        .join('/')
    : value;
}

/** A `from` or `to` as it came from a URL: the `+` of a time zone arrives as a space, as every `+` does. */
export function urlFrom(value: string): string {
  return value.replace(' ', '+');
}

/** Decodes percent-escapes of a path segment or path; `+` stays. */
export function decodePath(text: string): string {
  try {
    return text.includes('%') ? decodeURIComponent(text) : text;
  } catch (cause) {
    throw new TailraceError(
      'bad_request',
      `${JSON.stringify(text.slice(0, 80))} has a broken percent-escape (they must decode to UTF-8)`,
      { cause },
    );
  }
}

function decode(text: string): string {
  return decodePath(text.includes('+') ? text.replaceAll('+', ' ') : text);
}
