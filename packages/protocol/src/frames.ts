import { checkDeadline } from './deadline.ts';
import type { Envelope } from './envelope.ts';
import { type ErrorPlace, type Problem, TailraceError } from './errors.ts';
import { checkHeartbeat } from './heartbeat.ts';
import { rawElements, rawMember } from './json-raw.ts';
import type { InputLimits } from './limits.ts';
import { describe, type Message, parseMessage } from './message.ts';
import { didYouMean } from './nearest.ts';
import { setAside, unsupported } from './set-aside.ts';
import { checkFilter, isReserved } from './topic.ts';

/** Client's name for a request, echoed in its answer (§7). */
export type Ref = string | number;

/** One item of `subscribe`: checked, with its label decided. */
export interface SubscriptionRequest {
  readonly filters: readonly string[];
  /** Label; by default the filter when there is one, else the filters joined by a space. */
  readonly sub: string;
  readonly cursor: string | undefined;
  readonly from: string | undefined;
}

/** An item that failed on its own: the others of its request go on. */
export interface RefusedItem {
  readonly sub: string | undefined;
  readonly error: TailraceError;
}

export type ClientFrame =
  | {
      readonly type: 'connect';
      readonly ref: Ref | undefined;
      readonly token: string | undefined;
      readonly previous: string | undefined;
      readonly client: { readonly name: string; readonly version: string } | undefined;
      /** ms between heartbeats that the client wishes. */
      readonly heartbeat: number | undefined;
      readonly subscribe: readonly (SubscriptionRequest | RefusedItem)[];
    }
  | {
      readonly type: 'subscribe';
      readonly ref: Ref | undefined;
      readonly subscriptions: readonly (SubscriptionRequest | RefusedItem)[];
    }
  | { readonly type: 'unsubscribe'; readonly ref: Ref | undefined; readonly subs: readonly string[] }
  /** `failed`: the first message that did not pass, at index `messages.length`; what follows it is not attempted. */
  | {
      readonly type: 'publish';
      readonly ref: Ref | undefined;
      /** ms for its answer; undefined: as long as the server allows. */
      readonly deadline: number | undefined;
      readonly messages: readonly Message[];
      readonly total: number;
      readonly failed: TailraceError | undefined;
    }
  | { readonly type: 'ping'; readonly ref: Ref | undefined };

/** What the server sends; `messages` frames are written from bytes (§7) and appear here as their decoded form. */
export type ServerFrame =
  | {
      readonly type: 'welcome';
      readonly ref?: Ref;
      readonly session: string;
      readonly server: string;
      readonly protocol: string;
      readonly heartbeat: number;
      readonly user?: string;
      readonly tenant?: string;
      readonly expires?: number;
      readonly features: readonly string[];
      readonly limits: Readonly<Record<string, number>>;
    }
  | {
      readonly type: 'subscribed';
      readonly ref?: Ref;
      readonly at?: ErrorPlace;
      readonly sub: string;
      readonly filter: string | readonly string[];
      readonly cursor: string;
      readonly recovered?: boolean;
    }
  | {
      readonly type: 'messages';
      readonly sub: string;
      readonly after?: string;
      readonly cursor?: string;
      readonly messages: readonly Envelope[];
    }
  | { readonly type: 'cursor'; readonly sub: string; readonly after: string; readonly cursor: string }
  | { readonly type: 'live'; readonly sub: string; readonly cursor: string }
  | {
      readonly type: 'gap';
      readonly sub: string;
      readonly after: string;
      readonly cursor: string;
      readonly reason: 'trimmed' | 'lagging' | 'engine';
      readonly missed?: number;
    }
  | {
      readonly type: 'reset';
      readonly sub: string;
      readonly cursor: string;
      readonly reason: 'epoch' | 'ahead' | 'compacted';
    }
  | { readonly type: 'end'; readonly sub: string; readonly topic: string; readonly cursor: string }
  | { readonly type: 'unsubscribed'; readonly ref?: Ref; readonly sub: string; readonly code?: string }
  | { readonly type: 'published'; readonly ref?: Ref; readonly results: readonly PublishResult[] }
  | ({ readonly type: 'error'; readonly ref?: Ref; readonly sub?: string } & Problem)
  | { readonly type: 'heartbeat'; readonly time: number }
  | { readonly type: 'pong'; readonly ref?: Ref; readonly time: number }
  | { readonly type: 'drain'; readonly within: number }
  | { readonly type: 'degrade'; readonly within: number };

export type PublishResult =
  | { readonly offset?: number; readonly cursor?: string; readonly duplicate: boolean }
  | { readonly error: Problem };

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
const subscriptionFields = ['filter', 'sub', 'cursor', 'from'];

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
    if (!fields.includes(name))
      throw new TailraceError(
        'unknown_field',
        `a ${type} frame has no field ${JSON.stringify(name.slice(0, 64))}${didYouMean(name, fields)}`,
        { at: { field: name.slice(0, 64) } },
      );
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
    if (name !== 'connect' && name !== 'subscribe')
      throw new TailraceError(
        'unknown_field',
        `the body has no field ${JSON.stringify(name.slice(0, 64))}${didYouMean(name, ['connect', 'subscribe'])}`,
        { at: { field: name.slice(0, 64) } },
      );
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

function readSubscription(item: unknown, limits: FrameLimits): SubscriptionRequest | RefusedItem {
  let sub: string | undefined;
  try {
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      throw new TailraceError(
        'bad_request',
        `a subscription is an object such as {"filter":"a/#"}, not ${describe(item)}`,
      );
    const fields = item as Readonly<Record<string, unknown>>;
    sub = optionalString(fields, 'sub', 64);
    for (const name of Object.keys(fields)) {
      if (subscriptionFields.includes(name)) continue;
      if (setAside.subscription.includes(name)) throw unsupported(name);
      throw new TailraceError(
        'unknown_field',
        `a subscription has no field ${JSON.stringify(name.slice(0, 64))}${didYouMean(name, subscriptionFields)}`,
        { at: { field: name.slice(0, 64) } },
      );
    }
    const filters = checkFilters(fields.filter, limits);
    if (sub === undefined) sub = defaultLabel(filters);
    return { filters, sub, cursor: optionalString(fields, 'cursor', 1024), from: optionalString(fields, 'from', 80) };
  } catch (error) {
    if (error instanceof TailraceError) return { sub, error: sub === undefined ? error : error.placed({ sub }) };
    throw error;
  }
}

function defaultLabel(filters: readonly string[]): string {
  const label = filters.join(' ');
  if (label.length <= 64) return label;
  throw new TailraceError(
    'bad_request',
    'the filters are too long to serve as label: give the subscription a "sub" of at most 64 characters',
    { at: { field: 'sub' } },
  );
}

/** Checks one filter or a list of them; throws the first fault. */
export function checkFilters(value: unknown, limits: InputLimits): string[] {
  const list = typeof value === 'string' ? [value] : value;
  if (!Array.isArray(list) || list.length === 0)
    throw new TailraceError('filter_invalid', 'filter is missing: name at least one, such as "news/#"', {
      at: { field: 'filter' },
    });
  if (list.length > limits.filters)
    throw new TailraceError(
      'too_many_filters',
      `${list.length} filters in one subscription; at most ${limits.filters} are allowed`,
      { at: { field: 'filter' } },
    );
  return list.map((filter: unknown) => {
    if (typeof filter !== 'string')
      throw new TailraceError('filter_invalid', `a filter is a string, not ${describe(filter)}`, {
        at: { field: 'filter' },
      });
    checkFilter(filter, limits);
    if (isReserved(filter))
      throw new TailraceError(
        'unsupported',
        `filter ${JSON.stringify(filter)}: topics that begin with "$" are kept for a later version and not offered by this server`,
        { at: { field: 'filter' } },
      );
    return filter;
  });
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

function optionalString(
  fields: Readonly<Record<string, unknown>>,
  name: string,
  maxLength: number,
): string | undefined {
  const value = fields[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'string')
    throw new TailraceError('bad_request', `${name} must be a string, not ${describe(value)}`, { at: { field: name } });
  if (value.length === 0 || value.length > maxLength)
    throw new TailraceError('bad_request', `${name} must have 1 to ${maxLength} characters`, { at: { field: name } });
  if (!value.isWellFormed())
    throw new TailraceError('bad_request', `${name} has a lone surrogate`, { at: { field: name } });
  return value;
}
