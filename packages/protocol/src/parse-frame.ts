import { checkDeadline } from './deadline.ts';
import { TailraceError } from './errors.ts';
import { describe, optionalString, unknownField } from './fields.ts';
import type { ClientFrame, Ref } from './frames.ts';
import { checkHeartbeat } from './heartbeat.ts';
import { rawElements, rawMember } from './json-raw.ts';
import type { InputLimits } from './limits.ts';
import { type Message, parseMessage } from './message.ts';
import { didYouMean } from './nearest.ts';
import { type RefusedItem, readSubscription, type SubscriptionRequest } from './subscription-request.ts';

/** Limits on one client frame beside those of its messages and filters. */
export interface FrameLimits extends InputLimits {
  /** Messages of one `publish` frame, items of one `subscribe`, labels of one `unsubscribe`. */
  readonly items: number;
  /** Longest deadline that a publish may name, ms. */
  readonly deadline: number;
}

const frameFields: Readonly<Record<string, readonly string[]>> = {
  connect: ['type', 'ref', 'token', 'previous', 'client', 'heartbeat', 'subscribe'],
  subscribe: ['type', 'ref', 'subscriptions'],
  unsubscribe: ['type', 'ref', 'subs'],
  publish: ['type', 'ref', 'deadline', 'messages'],
  refresh: ['type', 'ref', 'token'],
  ack: ['type', 'ref', 'sub', 'cursor', 'deliveries', 'outcome', 'retryAfter'],
  ping: ['type', 'ref'],
};
const bodyFields = ['connect', 'subscribe'];

/** A frame that cannot be used, with the `ref` to answer when there was one. */
export class FrameError extends Error {
  readonly ref: Ref | undefined;
  readonly error: TailraceError;
  constructor(ref: Ref | undefined, error: TailraceError) {
    super(error.message, { cause: error });
    this.ref = ref;
    this.error = error;
  }
}

/** Reads one client frame (§7); throws FrameError. `text` must be well-formed Unicode. */
export function parseClientFrame(text: string, limits: FrameLimits): ClientFrame {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FrameError(
      undefined,
      new TailraceError(
        'bad_request',
        `a frame is one JSON object; this one does not parse: ${(cause as Error).message}`,
        { cause },
      ),
    );
  }
  let ref: Ref | undefined;
  try {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new TailraceError('bad_request', `a frame is a JSON object with "type", not ${describe(value)}`);
    }
    const frame = value as Readonly<Record<string, unknown>>;
    ref = checkRef(frame.ref);
    return readFrame(frame, ref, text, limits);
  } catch (error) {
    if (error instanceof TailraceError) throw new FrameError(ref, error);
    throw error;
  }
}

function readFrame(
  frame: Readonly<Record<string, unknown>>,
  ref: Ref | undefined,
  text: string,
  limits: FrameLimits,
): ClientFrame {
  const type = frame.type;
  const fields = typeof type === 'string' && Object.hasOwn(frameFields, type) ? frameFields[type] : undefined;
  if (fields === undefined) {
    const known = Object.keys(frameFields);
    throw new TailraceError(
      'unknown_field',
      typeof type === 'string'
        ? `no frame has the type ${JSON.stringify(type.slice(0, 40))}${didYouMean(type.slice(0, 40), known)}`
        : 'a frame needs "type", a string',
      { at: { field: 'type' } },
    );
  }
  for (const name of Object.keys(frame)) {
    if (!fields.includes(name)) throw unknownField(`a ${type} frame`, name, fields);
  }
  switch (type) {
    case 'connect':
      return {
        type,
        ref,
        token: optionalString(frame, 'token', 16_384),
        previous: optionalString(frame, 'previous', 64),
        client: checkClient(frame.client),
        heartbeat: frame.heartbeat === undefined ? undefined : checkHeartbeat(frame.heartbeat),
        subscribe:
          frame.subscribe === undefined
            ? []
            : checkItems(frame.subscribe, 'subscribe', limits).map(item => readSubscription(item, limits)),
      };
    case 'subscribe':
      return {
        type,
        ref,
        subscriptions: checkItems(frame.subscriptions, 'subscriptions', limits).map(item =>
          readSubscription(item, limits),
        ),
      };
    case 'unsubscribe':
      return {
        type,
        ref,
        subs: checkItems(frame.subs, 'subs', limits).map((sub, index) => {
          if (typeof sub !== 'string')
            throw new TailraceError('bad_request', `subs[${index}] must be a string, not ${describe(sub)}`, {
              at: { field: 'subs', index },
            });
          return sub;
        }),
      };
    case 'publish':
      return readPublish(frame, ref, text, limits);
    case 'ping':
      return { type, ref };
    default:
      throw new TailraceError(
        'unsupported',
        `"${String(type)}" frames are kept for a later version and not offered by this server`,
        { at: { field: 'type' } },
      );
  }
}

function readPublish(
  frame: Readonly<Record<string, unknown>>,
  ref: Ref | undefined,
  text: string,
  limits: FrameLimits,
): ClientFrame {
  const deadline = frame.deadline === undefined ? undefined : checkDeadline(frame.deadline, limits.deadline);
  const items = checkItems(frame.messages, 'messages', limits);
  const spans = rawElements(text, rawMember(text, 0, 'messages')!.start);
  const messages: Message[] = [];
  for (let index = 0; index < items.length; index++) {
    try {
      messages.push(parseMessage(items[index], text, spans[index]!.start, limits));
    } catch (error) {
      if (!(error instanceof TailraceError)) throw error;
      return { type: 'publish', ref, deadline, messages, total: items.length, failed: error.placed({ index }) };
    }
  }
  return { type: 'publish', ref, deadline, messages, total: items.length, failed: undefined };
}

/** The body of a POST to /v1/sse or /v1/poll (§6). */
export interface StreamRequest {
  readonly connect: (ClientFrame & { readonly type: 'connect' }) | undefined;
  readonly subscribe: readonly (SubscriptionRequest | RefusedItem)[];
}

/** Reads `connect` + `subscribe` of a POST to /v1/sse or /v1/poll (§6). */
export function parseStreamRequest(text: string, limits: FrameLimits): StreamRequest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new TailraceError('bad_request', `the body does not parse as JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TailraceError('bad_request', `the body is {"connect":{…},"subscribe":[…]}, not ${describe(value)}`);
  const body = value as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(body)) {
    if (!bodyFields.includes(name)) throw unknownField('the body', name, bodyFields);
  }
  const connect = body.connect === undefined ? undefined : readConnect(body.connect, text, limits);
  const items = checkItems(body.subscribe, 'subscribe', limits);
  if (items.length === 0)
    throw new TailraceError('bad_request', '"subscribe" is empty: name at least one subscription', {
      at: { field: 'subscribe' },
    });
  return { connect, subscribe: items.map(item => readSubscription(item, limits)) };
}

function readConnect(value: unknown, text: string, limits: FrameLimits): StreamRequest['connect'] {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TailraceError('bad_request', `"connect" is a frame object, not ${describe(value)}`, {
      at: { field: 'connect' },
    });
  const frame: Readonly<Record<string, unknown>> = { ...value, type: 'connect' };
  return readFrame(frame, checkRef(frame.ref), text, limits) as StreamRequest['connect'];
}

function checkItems(value: unknown, field: string, limits: FrameLimits): readonly unknown[] {
  if (!Array.isArray(value))
    throw new TailraceError('bad_request', `"${field}" must be an array, not ${describe(value)}`, { at: { field } });
  if (value.length > limits.items)
    throw new TailraceError(
      'payload_too_large',
      `"${field}" has ${value.length} items; at most ${limits.items} are allowed`,
      { at: { field } },
    );
  // a request of these would have no answer at all
  if (value.length === 0 && (field === 'subscriptions' || field === 'subs'))
    throw new TailraceError('bad_request', `"${field}" is empty: name at least one`, { at: { field } });
  return value;
}

function checkRef(value: unknown): Ref | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  if (typeof value === 'string' && value.length <= 36) return value;
  throw new TailraceError('bad_request', 'ref must be an integer or a string of at most 36 characters', {
    at: { field: 'ref' },
  });
}

function checkClient(value: unknown): { name: string; version: string } | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new TailraceError('bad_request', `client is {"name","version"}, not ${describe(value)}`, {
      at: { field: 'client' },
    });
  const client = value as Readonly<Record<string, unknown>>;
  return { name: optionalString(client, 'name', 64) ?? '', version: optionalString(client, 'version', 32) ?? '' };
}
