import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import {
  type MessageFields,
  parseQuery,
  setAside,
  single,
  TailraceError,
  textDeadline,
  unsupported,
} from '@tailrace/protocol';

/** Fields of a message that travel beside a raw body: as `Tailrace-<Name>` headers or as query parameters (§4). */
export const publishFields = [
  'id',
  'key',
  'expect',
  'event',
  'producer',
  'sequence',
  'durability',
  'lane',
  'end',
] as const;

/** What travels beside a raw body: the fields of its message, and the deadline of the publish. */
const besideBody = [...publishFields, 'deadline'] as const;

type BesideName = (typeof besideBody)[number];

/** What stood beside a raw body. */
export interface RawFields extends MessageFields {
  /** ms; undefined: the server's. */
  deadline?: number;
}

const prefix = 'tailrace-';
/** `Tailrace-Header-Reply-To: x` is the message header `reply-to`. */
const headerPrefix = 'tailrace-header-';

/**
 * Reads what stands beside a raw body; throws for unknown, repeated and doubly given fields. `deadlineMax` is the longest
 * deadline, ms.
 */
export function readPublishFields(req: IncomingMessage, query: string, deadlineMax: number): RawFields {
  const fields: RawFields = { contentType: req.headers['content-type'] };
  if (query !== '') fromQuery(query, fields, deadlineMax);
  fromHeaders(req.rawHeaders, fields, query !== '', deadlineMax);
  return fields;
}

/** The deadline of a publish whose messages carry their own fields; another field beside the body is refused. */
export function readDeadline(req: IncomingMessage, query: string, deadlineMax: number): number | undefined {
  const asked = single(parseQuery(query, ['deadline'], setAside.message), 'deadline');
  const raw = req.rawHeaders;
  let text = asked;
  for (let i = 0; i < raw.length; i += 2) {
    const name = ownHeader(raw[i]!);
    if (name === undefined) continue;
    const field = name.slice(prefix.length);
    if (field !== 'deadline')
      throw unknownHeader(
        field,
        ': messages sent to /v1/publish have their fields as members; the one header is Tailrace-Deadline',
      );
    if (text !== undefined) throw asked === undefined ? twice(name) : bothWays(field);
    text = raw[i + 1]!;
  }
  return text === undefined ? undefined : textDeadline(text, deadlineMax);
}

function fromQuery(text: string, fields: RawFields, deadlineMax: number): void {
  const query = parseQuery(text, besideBody, setAside.message);
  for (const name of query.keys()) set(fields, name as BesideName, single(query, name)!, deadlineMax);
}

/** The lower-case name of a header of ours. */
function ownHeader(header: string): string | undefined {
  const first = header.charCodeAt(0);
  if (first !== 0x54 && first !== 0x74) return undefined; // T, t
  const name = header.toLowerCase();
  return name.startsWith(prefix) ? name : undefined;
}

// the raw list, because a repeated header is joined or dropped in `req.headers`
function fromHeaders(raw: readonly string[], fields: RawFields, queried: boolean, deadlineMax: number): void {
  let headers: Record<string, string> | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const name = ownHeader(raw[i]!);
    if (name === undefined) continue;
    const value = utf8(name, raw[i + 1]!);
    if (name.startsWith(headerPrefix)) {
      // without a prototype: `__proto__` is a name like any other, and refused as one
      headers ??= Object.create(null) as Record<string, string>;
      const own = name.slice(headerPrefix.length);
      if (Object.hasOwn(headers, own)) throw twice(name);
      headers[own] = value;
      continue;
    }
    const field = name.slice(prefix.length);
    if (!besideBody.includes(field as BesideName)) {
      const known = besideBody.map(one => `Tailrace-${one}`).join(', ');
      throw unknownHeader(field, `; known are ${known} and Tailrace-Header-<name>`);
    }
    if (fields[field as BesideName] !== undefined) throw queried ? bothWays(field) : twice(name);
    set(fields, field as BesideName, value, deadlineMax);
  }
  if (headers !== undefined) fields.headers = headers;
}

function set(fields: RawFields, name: BesideName, text: string, deadlineMax: number): void {
  // what does not look like its type stays text, and the check of the message says what is wrong
  if (name === 'sequence') fields.sequence = /^\d{1,16}$/.test(text) ? Number(text) : text;
  else if (name === 'expect') fields.expect = expected(text);
  else if (name === 'end') fields.end = text === 'true' ? true : text === 'false' ? false : text;
  else if (name === 'deadline') fields.deadline = textDeadline(text, deadlineMax);
  else fields[name] = text;
}

/** `absent`, or the offset of the newest record of the key. */
function expected(text: string): { absent: true } | { offset: number } {
  if (text === 'absent') return { absent: true };
  if (/^\d{1,16}$/.test(text)) return { offset: Number(text) };
  const said = 'expect must be absent, or the offset of the newest record of the key';
  throw new TailraceError('bad_request', said, { at: { field: 'expect' } });
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

/** `instead` goes on behind "no header … here". */
function unknownHeader(field: string, instead: string): TailraceError {
  if (setAside.message.includes(field)) return unsupported(field);
  const name = `${prefix}${field}`;
  return new TailraceError('unknown_field', `no header ${name} here${instead}`, { at: { field: name } });
}

function twice(name: string): TailraceError {
  return new TailraceError('bad_request', `header ${name} may be given once`, { at: { field: name } });
}

function bothWays(field: string): TailraceError {
  return new TailraceError('bad_request', `${field} is given as a header and in the query: give it once`, {
    at: { field },
  });
}
