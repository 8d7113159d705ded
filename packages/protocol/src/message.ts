import { payloadKind, storedContentType } from './content-type.ts';
import { type Durability, durabilities } from './durability.ts';
import { type ErrorCode, type ErrorPlace, TailraceError } from './errors.ts';
import { describe, unknownField } from './fields.ts';
import { jsonValueEnd } from './json-check.ts';
import { rawMember } from './json-raw.ts';
import { defaultInputLimits, type InputLimits } from './limits.ts';
import { setAside, unsupported } from './set-aside.ts';
import { checkNotReserved, checkTopic } from './topic.ts';
import { encodeUtf8, utf8Length } from './utf8.ts';

export type MessageHeaders = Readonly<Record<string, string>>;

/** A message that passed every check of §1: what the log is given. Undefined means absent; `contentType` undefined is JSON. */
export interface Message {
  readonly topic: string;
  readonly data: Uint8Array;
  readonly contentType: string | undefined;
  readonly event: string | undefined;
  readonly id: string | undefined;
  readonly producer: string | undefined;
  readonly sequence: number | undefined;
  readonly key: string | undefined;
  /** Offset of the record that must be the newest of the key; 0: there must be none. */
  readonly expect: number | undefined;
  readonly headers: MessageHeaders | undefined;
  /** Subject of the publisher's token; set by the server. */
  readonly by: string | undefined;
  readonly end: boolean;
  /** Undefined: what the topic rule says. */
  readonly durability: Durability | undefined;
}

/** The fields beside the topic and the payload, as they come from JSON, headers or a query: still unchecked. */
export interface MessageFields {
  contentType?: unknown;
  event?: unknown;
  id?: unknown;
  producer?: unknown;
  sequence?: unknown;
  key?: unknown;
  expect?: unknown;
  headers?: unknown;
  durability?: unknown;
  lane?: unknown;
  end?: unknown;
}

const jsonMembers = [
  'topic',
  'data',
  'encoding',
  'contentType',
  'event',
  'id',
  'producer',
  'sequence',
  'key',
  'expect',
  'headers',
  'durability',
  'lane',
  'end',
];

const printable = /^[\x20-\x7e]*$/;
const headerName = /^[a-z0-9][a-z0-9.-]{0,63}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const control = /[\u0000-\u001f\u007f]/;
// keeps a byte order mark, so that JSON.parse sees it: inside an envelope it would not be JSON
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const noData = new Uint8Array(0);

/**
 * Checks everything about one message and returns it as the log takes it. `data` are the payload's bytes, checked
 * against the content type here; undefined when it was left out. Throws a TailraceError whose `at.field` names the fault.
 */
export function checkMessage(
  topic: unknown,
  data: Uint8Array | undefined,
  fields: MessageFields,
  limits: InputLimits = defaultInputLimits,
): Message {
  const contentType = storedContentType(optionalText('contentType', fields.contentType, 128, printable));
  if (data !== undefined && data.length > limits.message) throw tooLarge(data.length, limits);
  const message = checkFields(topic, contentType, data, fields, limits);
  checkPayload(message);
  return message;
}

/**
 * Reads one message from a JSON object: `value` is what JSON.parse made of `text`, whose object begins at `start`
 * (so that the payload is taken verbatim from the text). Throws as `checkMessage` does.
 */
export function parseMessage(
  value: unknown,
  text: string,
  start = 0,
  limits: InputLimits = defaultInputLimits,
): Message {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TailraceError(
      'bad_request',
      `a message is a JSON object such as {"topic":"a/b","data":1}, not ${describe(value)}`,
    );
  }
  for (const name in value) checkName(name);
  const input = value as MessageFields & { topic?: unknown; data?: unknown; encoding?: unknown };
  const contentType =
    input.contentType === undefined
      ? undefined
      : storedContentType(optionalText('contentType', input.contentType, 128, printable));
  const data = jsonPayload(input.data, input.encoding, contentType, text, start);
  if (data !== undefined && data.length > limits.message) throw tooLarge(data.length, limits);
  const message = checkFields(input.topic, contentType, data, input, limits);
  // JSON taken from text that parsed is valid already; only decoded bytes can be something else
  if (input.encoding !== undefined) checkPayload(message);
  return message;
}

function checkName(name: string): void {
  switch (name) {
    case 'topic':
    case 'data':
    case 'encoding':
    case 'contentType':
    case 'event':
    case 'id':
    case 'producer':
    case 'sequence':
    case 'key':
    case 'expect':
    case 'headers':
    case 'durability':
    case 'lane':
    case 'end':
      return;
  }
  if (setAside.message.includes(name)) throw unsupported(name);
  if (name === 'by' || name === 'offset' || name === 'time') {
    throw new TailraceError('unknown_field', `"${name}" is set by the server and cannot be published`, {
      at: { field: name },
    });
  }
  throw unknownField('a message', name, jsonMembers);
}

function tooLarge(length: number, limits: InputLimits): TailraceError {
  return new TailraceError('payload_too_large', `data has ${length} bytes; a message may have ${limits.message}`, {
    at: { field: 'data' },
  });
}

function jsonPayload(
  data: unknown,
  encoding: unknown,
  contentType: string | undefined,
  text: string,
  start: number,
): Uint8Array | undefined {
  if (encoding !== undefined && encoding !== 'base64')
    throw fieldError('bad_request', 'encoding', 'is "base64" or left out');
  if (data === undefined) return undefined;
  if (encoding !== undefined) {
    if (typeof data !== 'string')
      throw fieldError('payload_invalid', 'data', 'must be a string when encoding is "base64"');
    return fromBase64(data);
  }
  const kind = payloadKind(contentType);
  if (kind === 'json') {
    const span = rawMember(text, start, 'data')!;
    return encodeUtf8(text.slice(span.start, span.end));
  }
  if (kind === 'binary')
    throw fieldError('payload_invalid', 'data', `of type ${contentType} must be base64, with "encoding":"base64"`);
  if (typeof data !== 'string') throw fieldError('payload_invalid', 'data', `of type ${contentType} must be a string`);
  if (!data.isWellFormed())
    throw fieldError('payload_invalid', 'data', 'has a lone surrogate, which UTF-8 cannot carry');
  return encodeUtf8(data);
}

function checkFields(
  topic: unknown,
  contentType: string | undefined,
  data: Uint8Array | undefined,
  fields: MessageFields,
  limits: InputLimits,
): Message {
  const checkedTopic = knownTopic(topic, limits) ?? newTopic(topic, limits);
  const event = optionalText('event', fields.event, 64, printable);
  if (event === 'tailrace' || event === 'base64')
    throw fieldError('bad_request', 'event', `may not be "${event}": the server uses that name itself`);
  if (fields.lane !== undefined && fields.lane !== 'normal') {
    if (fields.lane === 'urgent') throw unsupported('lane');
    throw fieldError('bad_request', 'lane', 'is "normal" or "urgent"');
  }
  const producer = optionalText('producer', fields.producer, 128, printable);
  const sequence = optionalSequence(fields.sequence);
  if ((producer === undefined) !== (sequence === undefined)) {
    throw fieldError(
      'bad_request',
      producer === undefined ? 'producer' : 'sequence',
      'is missing: producer and sequence come together',
    );
  }
  const key = optionalText('key', fields.key, 512, undefined);
  if (key !== undefined && utf8Length(key) > 512) throw fieldError('bad_request', 'key', 'is longer than 512 bytes');
  const expect = optionalExpect(fields.expect);
  if (expect !== undefined && key === undefined)
    throw fieldError('bad_request', 'expect', 'is about the newest record of a key: give a key too');
  const end = optionalBoolean('end', fields.end);
  // text and bytes may be empty; no bytes are no JSON
  const missing = data === undefined || (data.length === 0 && payloadKind(contentType) === 'json');
  if (missing && key === undefined && !end) {
    throw fieldError(
      'payload_invalid',
      'data',
      'is missing; only a deletion (key without data) or an end may have none',
    );
  }
  return {
    topic: checkedTopic,
    data: data ?? noData,
    contentType,
    event,
    id: optionalText('id', fields.id, 128, printable),
    producer,
    sequence,
    key,
    expect,
    headers: optionalHeaders(fields.headers, limits),
    by: undefined,
    end,
    durability: optionalDurability(fields.durability, limits),
  };
}

/**
 * Topics that passed lately under `knownLimits`. A publisher names few topics often; and all records of a topic share
 * one string, whose hash is known.
 */
const knownTopics = new Map<string, string>();
const knownTopicsMax = 4096;
let knownLimits: InputLimits | undefined;

function knownTopic(topic: unknown, limits: InputLimits): string | undefined {
  return limits === knownLimits ? knownTopics.get(topic as string) : undefined;
}

function newTopic(topic: unknown, limits: InputLimits): string {
  if (typeof topic !== 'string')
    throw fieldError('topic_invalid', 'topic', topic === undefined ? 'is missing' : 'must be a string');
  checkTopic(topic, limits);
  checkNotReserved(topic);
  if (limits !== knownLimits || knownTopics.size >= knownTopicsMax) {
    knownTopics.clear();
    knownLimits = limits;
  }
  knownTopics.set(topic, topic);
  return topic;
}

function checkPayload(message: Message): void {
  const { data } = message;
  if (data.length === 0) return;
  const kind = payloadKind(message.contentType);
  if (kind === 'binary') return;
  let text: string;
  try {
    text = strictUtf8.decode(data);
  } catch (cause) {
    throw new TailraceError(
      'payload_invalid',
      `the payload is not valid UTF-8, as ${message.contentType ?? 'application/json'} must be`,
      { at: { field: 'data' }, cause },
    );
  }
  if (kind === 'text' || jsonValueEnd(data, 0) === data.length) return;
  try {
    JSON.parse(text);
  } catch (cause) {
    throw new TailraceError('payload_invalid', `the payload is not valid JSON: ${(cause as Error).message}`, {
      at: { field: 'data' },
      cause,
    });
  }
}

function optionalText(
  field: string,
  value: unknown,
  maxLength: number,
  allowed: RegExp | undefined,
): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw fieldError('bad_request', field, `must be a string, not ${describe(value)}`);
  if (value.length === 0 || value.length > maxLength)
    throw fieldError('bad_request', field, `must have 1 to ${maxLength} characters`);
  if (allowed === undefined ? control.test(value) || !value.isWellFormed() : !allowed.test(value)) {
    throw fieldError(
      'bad_request',
      field,
      allowed === undefined ? 'has a control character or lone surrogate' : 'may only have printable ASCII characters',
    );
  }
  return value;
}

function optionalSequence(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw fieldError('bad_request', 'sequence', 'must be an integer from 0 to 2^53 - 1');
  }
  return value;
}

function optionalExpect(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const names = Object.keys(value);
    const { offset, absent } = value as { offset?: unknown; absent?: unknown };
    if (names.length === 1 && absent === true) return 0;
    if (names.length === 1 && typeof offset === 'number' && Number.isSafeInteger(offset) && offset > 0) return offset;
  }
  throw fieldError(
    'bad_request',
    'expect',
    'must be {"offset":N}, the offset of the newest record of the key, or {"absent":true}',
  );
}

function optionalBoolean(field: string, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value === 'boolean') return value;
  // in a query or a header everything is a string: only the text says what is wrong with it
  const found = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : describe(value);
  throw fieldError('bad_request', field, `must be true or false, not ${found}`);
}

function optionalDurability(value: unknown, limits: InputLimits): Durability | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || !durabilities.includes(value as Durability)) {
    const found = typeof value === 'string' ? JSON.stringify(value.slice(0, 64)) : describe(value);
    throw fieldError(
      'bad_request',
      'durability',
      `${found} is no durability class: it is one of ${durabilities.join(', ')}`,
    );
  }
  if (!limits.durabilities.includes(value as Durability)) {
    throw fieldError(
      'durability_unsupported',
      'durability',
      `is "${value}", which the engine of this server cannot promise (it offers ${limits.durabilities.join(', ')}); leave it out to have what the engine can do`,
    );
  }
  return value as Durability;
}

function optionalHeaders(value: unknown, limits: InputLimits): MessageHeaders | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw fieldError('bad_request', 'headers', 'must be an object of strings');
  const headers: Record<string, string> = {};
  let size = 0;
  let count = 0;
  for (const [name, text] of Object.entries(value)) {
    if (!headerName.test(name))
      throw fieldError(
        'bad_request',
        'headers',
        `has the name ${JSON.stringify(name.slice(0, 80))}; names are lower-case letters, digits, "-" and "."`,
      );
    if (name.startsWith('tailrace-'))
      throw fieldError('bad_request', 'headers', `has the name "${name}"; the prefix "tailrace-" is the server's`);
    if (typeof text !== 'string' || control.test(text) || !text.isWellFormed())
      throw fieldError('bad_request', 'headers', `"${name}" must be a string without control characters`);
    size += name.length + utf8Length(text);
    if (size > limits.messageHeaders)
      throw fieldError('payload_too_large', 'headers', `has more than ${limits.messageHeaders} bytes`);
    headers[name] = text;
    count++;
  }
  return count === 0 ? undefined : headers;
}

function fromBase64(text: string): Uint8Array {
  let binary: string;
  try {
    binary = atob(text);
  } catch (cause) {
    throw new TailraceError('payload_invalid', 'data is not valid base64', { at: { field: 'data' }, cause });
  }
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function fieldError(code: ErrorCode, field: string, what: string): TailraceError {
  const at: ErrorPlace = { field };
  return new TailraceError(code, `${field} ${what}`, { at });
}
