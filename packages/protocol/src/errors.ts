import type { Envelope } from './envelope.ts';

/** Whether and when the same request may be tried again (protocol.md §8). */
export type Retry = 'never' | 'later' | 'reauth';

/** Whether the publish that failed may have been appended all the same. */
export type Outcome = 'none' | 'unknown';

/** Where in the input the fault lies. */
export interface ErrorPlace {
  /** Position in an array of messages or subscriptions, from 0. */
  readonly index?: number;
  /** Line of an NDJSON body, from 1. */
  readonly line?: number;
  /** Name of the member, header or parameter. */
  readonly field?: string;
  /** Label of the subscription. */
  readonly sub?: string;
}

interface ErrorKind {
  readonly status: number;
  readonly title: string;
  readonly retry: Retry;
  readonly outcome?: Outcome;
  /** What it means and what to do: the text of docs/errors.md. */
  readonly help: string;
}

/** Every error Tailrace sends, on any transport. `docs/errors.md` is generated from this table. */
export const errorTable = {
  // requests
  bad_request: {
    status: 400,
    title: 'The request is malformed',
    retry: 'never',
    help: 'The HTTP request, JSON body or frame could not be understood. `detail` says where it went wrong.',
  },
  unknown_field: {
    status: 400,
    title: 'Unknown field or parameter',
    retry: 'never',
    help: 'A field, query parameter or frame type is not part of the protocol. `detail` names the nearest one that is. Query parameters that begin with `_` are ignored.',
  },
  unsupported: {
    status: 400,
    title: 'Not supported by this server',
    retry: 'never',
    help: 'The field is reserved by the protocol and this server does not offer it yet. `features` in `GET /v1` lists what it offers.',
  },
  not_found: {
    status: 404,
    title: 'No such path',
    retry: 'never',
    help: 'The path is not part of the API. `GET /openapi.json` lists every path.',
  },
  method_not_allowed: {
    status: 405,
    title: 'Method not allowed on this path',
    retry: 'never',
    help: 'The `Allow` header lists the methods of this path.',
  },
  upgrade_required: {
    status: 426,
    title: 'WebSocket version not supported',
    retry: 'never',
    help: 'The server speaks WebSocket version 13 (RFC 6455).',
  },
  // topics, filters, cursors
  topic_invalid: {
    status: 400,
    title: 'Invalid topic',
    retry: 'never',
    help: 'A topic is levels joined by `/`: no empty level, no `.` or `..`, no control characters, no `+` or `#`, within the limits on bytes and levels. First levels that begin with `$` belong to the server.',
  },
  filter_invalid: {
    status: 400,
    title: 'Invalid filter',
    retry: 'never',
    help: 'A filter is a topic in which a level may be `+` (one level) and the last may be `#` (the rest). In a URL write `%23` for `#`: everything after a bare `#` is cut off by the client.',
  },
  cursor_invalid: {
    status: 400,
    title: 'Malformed cursor',
    retry: 'never',
    help: 'A cursor is a token that this server sent, unchanged. `from` takes `now`, `earliest`, `last`, `last:N`, an RFC 3339 time, `-5m` or `@<offset>`.',
  },
  already_subscribed: {
    status: 409,
    title: 'Label already in use',
    retry: 'never',
    help: 'This session already has a subscription with this `sub`. Unsubscribe first or choose another label.',
  },
  not_subscribed: {
    status: 404,
    title: 'No such subscription',
    retry: 'never',
    help: 'This session has no subscription with this `sub`.',
  },
  too_many_filters: {
    status: 400,
    title: 'Too many filters',
    retry: 'never',
    help: 'One subscription may carry `limits.filters` filters. Use wildcards or several subscriptions.',
  },
  too_many_subscriptions: {
    status: 429,
    title: 'Too many subscriptions',
    retry: 'never',
    help: 'One session may hold `limits.subscriptions` subscriptions. Unsubscribe, or put several filters into one subscription.',
  },
  // payloads
  payload_invalid: {
    status: 400,
    title: 'Payload does not fit its content type',
    retry: 'never',
    help: 'JSON content must parse, JSON and text must be valid UTF-8, `encoding: "base64"` must decode.',
  },
  payload_too_large: {
    status: 413,
    title: 'Message or body too large',
    retry: 'never',
    help: 'A message may have `limits.message` bytes, an array body `limits.body`. Split it, or stream NDJSON, which has no total limit.',
  },
  media_type_unsupported: {
    status: 415,
    title: 'Content type not supported',
    retry: 'never',
    help: '`multipart/*` bodies are not accepted. Send the payload itself with its own content type.',
  },
  headers_too_large: {
    status: 431,
    title: 'Request head too large',
    retry: 'never',
    help: 'The request line and headers exceed `limits.header`.',
  },
  request_timeout: {
    status: 408,
    title: 'The request came too slowly',
    retry: 'later',
    help: 'The head or body did not arrive within its time-out.',
  },
  // publishing
  topic_ended: {
    status: 409,
    title: 'The topic has ended',
    retry: 'never',
    help: 'An earlier message with `end: true` closed this topic for good.',
  },
  sequence_too_old: {
    status: 409,
    title: 'Producer sequence too old to judge',
    retry: 'never',
    help: 'The sequence lies more than 1,024 below the highest seen of this producer, so it cannot be told whether it was appended before.',
  },
  expect_failed: {
    status: 409,
    title: 'The key is not as expected',
    retry: 'never',
    help: 'The message names in `expect` what must be the newest record of its key, and that is another, or none. Nothing of the message was appended. `current` is that record (without `data` when that is large), or `null`: decide anew by it and publish with its offset.',
  },
  publish_forbidden: {
    status: 403,
    title: 'Publishing to this topic is not allowed',
    retry: 'never',
    help: 'First levels that begin with `$` belong to the server, and topics of a bridge to the system that writes them: publish there.',
  },
  not_attempted: {
    status: 424,
    title: 'Not attempted',
    retry: 'later',
    outcome: 'none',
    help: 'An earlier message of the same request failed, and messages of one request are appended in order.',
  },
  log_full: {
    status: 507,
    title: 'The disk of the log is full',
    retry: 'later',
    outcome: 'none',
    help: 'Nothing was appended. Reads go on, and publishing resumes by itself once space is free. Free disk space or lower `retention.bytes`.',
  },
  log_fenced: {
    status: 503,
    title: 'The log stopped after a disk error',
    retry: 'later',
    outcome: 'none',
    help: 'A write or sync of the log failed, so nothing more is acknowledged until a restart has recovered the log. Reads go on. See docs/operations.md.',
  },
  outcome_unknown: {
    status: 503,
    title: 'Publish outcome unknown',
    retry: 'later',
    outcome: 'unknown',
    help: 'The disk failed while this publish was being synced. It may be in the log: publish it again with the same id.',
  },
  overloaded: {
    status: 503,
    title: 'Too much is waiting',
    retry: 'later',
    outcome: 'none',
    help: 'Delivery or the log is further behind than its limit, so new publishes are refused for a moment. Retry after `retryAfter`.',
  },
  deadline_exceeded: {
    status: 503,
    title: 'Not committed within the deadline',
    retry: 'later',
    outcome: 'unknown',
    help: 'The publish was handed to the log and not committed within the deadline that it named, or `publish.deadline`. It may still commit: publish it again with the same id.',
  },
  durability_unsupported: {
    status: 400,
    title: 'Durability class not offered',
    retry: 'never',
    help: 'Durability is `fsync`, `written` or `none`, as far as the engine offers it: `durabilities` in `GET /v1` lists them. The engine `memory` keeps nothing over a restart and offers only `none`; leave the field out to have what it can do.',
  },
  // reading
  log_damaged: {
    status: 500,
    title: 'The log is damaged here',
    retry: 'later',
    help: 'Bytes of the log are not what was written, so nothing of them is served. `detail` names segment, frame and offset. What comes before the damage was served, publishing and live delivery go on. Reading goes past it once the operator has run `tailrace log repair`; from then on `gap` tells what is lost. See docs/operations.md.',
  },
  // connections
  engine_unavailable: {
    status: 503,
    title: 'The engine does not answer',
    retry: 'later',
    outcome: 'none',
    help: 'The server behind the log (Redis, for instance) has not answered for some time, so publishes are refused at once instead of waiting. Subscribers stay connected and history is served from memory. Publishing resumes by itself.',
  },
  log_rewound: {
    status: 503,
    title: 'The log lost its newest records',
    retry: 'later',
    help: 'The server behind a shared log (Redis, for instance) failed over to one that did not have the newest records yet. Come back with the last cursor: `reset` says from where it goes on. See `clusters.md` on how to keep this from happening.',
  },
  too_many_connections: {
    status: 503,
    title: 'Too many connections',
    retry: 'later',
    help: 'The server is at `limits.connections`.',
  },
  connect_timeout: {
    status: 408,
    title: 'No first frame in time',
    retry: 'later',
    help: 'A WebSocket client must send its first frame within `connect.timeout`.',
  },
  idle: {
    status: 408,
    title: 'Nothing to do on this connection',
    retry: 'later',
    help: 'A WebSocket session that subscribes to nothing and sent no frame for `idle.timeout` is closed. Subscribe, or connect when there is something to publish.',
  },
  stalled: {
    status: 408,
    title: 'The connection made no progress',
    retry: 'later',
    help: 'A write to this client made no progress for `stall.max`. Reconnect with the last cursor: nothing is lost.',
  },
  lagging: {
    status: 503,
    title: 'Too far behind',
    retry: 'later',
    help: 'The topic rule disconnects subscribers that lag beyond its limit. Reconnect with the last cursor: nothing is lost.',
  },
  draining: {
    status: 503,
    title: 'The server is shutting down',
    retry: 'later',
    outcome: 'none',
    help: 'Reconnect, here or to another node, within the window that the drain notice names.',
  },
  origin_refused: {
    status: 403,
    title: 'Origin not allowed',
    retry: 'never',
    help: 'Pages of this origin may not talk to this server. Add the origin to `origins`.',
  },
  host_refused: {
    status: 421,
    title: 'Host not served here',
    retry: 'never',
    help: 'Without authentication the server answers only to loopback names. Add the name to `hosts`.',
  },
  internal: {
    status: 500,
    title: 'Internal error',
    retry: 'later',
    outcome: 'unknown',
    help: 'A fault of the server. Its log has the details under the same session or request.',
  },
} as const;

/** Stable name of an error: never renamed, only added to. */
export type ErrorCode = keyof typeof errorTable;

/** The one shape of an error on the wire: RFC 9457 members, the same in frames, notices and HTTP bodies (§8). */
export interface Problem {
  readonly code: ErrorCode;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly retry: Retry;
  /** Milliseconds. */
  readonly retryAfter?: number;
  readonly outcome?: Outcome;
  readonly at?: ErrorPlace;
  /** Of `expect_failed`: the newest record of the key; null when there is none or it deletes the key. */
  readonly current?: CurrentRecord | null;
}

/** An envelope, or as much of it as could be told. */
export type CurrentRecord = Partial<Envelope> & { readonly offset: number };

export interface ErrorExtras {
  readonly at?: ErrorPlace;
  readonly current?: CurrentRecord | null | undefined;
  /** Milliseconds until a retry makes sense. */
  readonly retryAfter?: number;
  readonly cause?: unknown;
}

const brand: unique symbol = Symbol.for('tailrace.error') as never;

/** An error that a client may see. Test with `isTailraceError`: `instanceof` fails when two copies are loaded. */
export class TailraceError extends Error {
  readonly code: ErrorCode;
  readonly at: ErrorPlace | undefined;
  readonly retryAfter: number | undefined;
  readonly current: CurrentRecord | null | undefined;

  constructor(code: ErrorCode, detail: string, extras: ErrorExtras = {}) {
    super(detail, extras.cause === undefined ? undefined : { cause: extras.cause });
    this.name = 'TailraceError';
    this.code = code;
    this.at = extras.at;
    this.retryAfter = extras.retryAfter;
    this.current = extras.current;
    Object.defineProperty(this, brand, { value: true });
  }

  get status(): number {
    return errorTable[this.code].status;
  }

  /** The same error with a more exact place. */
  placed(at: ErrorPlace): TailraceError {
    const { retryAfter, cause, current } = this;
    return new TailraceError(this.code, this.message, {
      at: { ...this.at, ...at },
      current,
      ...(retryAfter === undefined ? {} : { retryAfter }),
      ...(cause === undefined ? {} : { cause }),
    });
  }

  toProblem(): Problem {
    const kind: ErrorKind = errorTable[this.code];
    return {
      code: this.code,
      title: kind.title,
      status: kind.status,
      detail: this.message,
      retry: kind.retry,
      ...(this.retryAfter === undefined ? {} : { retryAfter: this.retryAfter }),
      ...(kind.outcome === undefined ? {} : { outcome: kind.outcome }),
      ...(this.at === undefined ? {} : { at: this.at }),
      ...(this.current === undefined ? {} : { current: this.current }),
    };
  }
}

export function isTailraceError(error: unknown): error is TailraceError {
  return typeof error === 'object' && error !== null && brand in error;
}

/** Any thrown value as an error that may be shown: what is not ours becomes `internal` and keeps its cause. */
export function toTailraceError(error: unknown): TailraceError {
  if (isTailraceError(error)) return error;
  return new TailraceError('internal', 'an internal error; the server log has the details', { cause: error });
}
