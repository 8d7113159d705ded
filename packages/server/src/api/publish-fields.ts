import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { type MessageFields, parseQuery, setAside, single, TailraceError, unsupported } from '@tailrace/protocol';

/** Fields of a message that travel beside a raw body: as `Tailrace-<Name>` headers or as query parameters (§4). */
export const publishFields = ['id', 'key', 'event', 'producer', 'sequence', 'durability', 'lane', 'end'] as const;

type FieldName = (typeof publishFields)[number];

const prefix = 'tailrace-';
/** `Tailrace-Header-Reply-To: x` is the message header `reply-to`. */
const headerPrefix = 'tailrace-header-';

/** Reads the fields of a raw publish; throws for unknown, repeated and doubly given ones. */
export function readPublishFields(req: IncomingMessage, query: string): MessageFields {
  const fields: MessageFields = { contentType: req.headers['content-type'] };
  if (query !== '') fromQuery(query, fields);
  fromHeaders(req.rawHeaders, fields, query !== '');
  return fields;
}

function fromQuery(text: string, fields: MessageFields): void {
  const query = parseQuery(text, publishFields, setAside.message);
  for (const name of query.keys()) set(fields, name as FieldName, single(query, name)!);
}

// the raw list, because a repeated header is joined or dropped in `req.headers`
function fromHeaders(raw: readonly string[], fields: MessageFields, queried: boolean): void {
  let headers: Record<string, string> | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const first = raw[i]!.charCodeAt(0);
    if (first !== 0x54 && first !== 0x74) continue; // T, t
    const name = raw[i]!.toLowerCase();
    if (!name.startsWith(prefix)) continue;
    const value = utf8(name, raw[i + 1]!);
    if (name.startsWith(headerPrefix)) {
      headers ??= {};
      const own = name.slice(headerPrefix.length);
      if (Object.hasOwn(headers, own)) throw twice(name);
      headers[own] = value;
      continue;
    }
    const field = name.slice(prefix.length);
    if (!publishFields.includes(field as FieldName)) {
      if (setAside.message.includes(field)) throw unsupported(field);
      throw new TailraceError(
        'unknown_field',
        `no header ${name} here; known are ${publishFields.map(known => `Tailrace-${known}`).join(', ')} and Tailrace-Header-<name>`,
        { at: { field: name } },
      );
    }
    if (fields[field as FieldName] !== undefined) throw queried ? bothWays(field) : twice(name);
    set(fields, field as FieldName, value);
  }
  if (headers !== undefined) fields.headers = headers;
}

function set(fields: MessageFields, name: FieldName, text: string): void {
  // what does not look like its type stays text, and the check of the message says what is wrong
  if (name === 'sequence') fields.sequence = /^\d{1,16}$/.test(text) ? Number(text) : text;
  else if (name === 'end') fields.end = text === 'true' ? true : text === 'false' ? false : text;
  else fields[name] = text;
}

/** Header values come as one character a byte; what was meant is UTF-8. */
function utf8(name: string, value: string): string {
  for (let i = 0; i < value.length; i++) {
    if (value.charCodeAt(i) < 0x80) continue;
    const bytes = Buffer.from(value, 'latin1');
    if (isUtf8(bytes)) return bytes.toString();
    throw new TailraceError('bad_request', `header ${name} is not valid UTF-8`, { at: { field: name } });
  }
  return value;
}

function twice(name: string): TailraceError {
  return new TailraceError('bad_request', `header ${name} may be given once`, { at: { field: name } });
}

function bothWays(field: string): TailraceError {
  return new TailraceError('bad_request', `${field} is given as a header and in the query: give it once`, {
    at: { field },
  });
}
