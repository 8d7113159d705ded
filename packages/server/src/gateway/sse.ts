import type { IncomingMessage } from 'node:http';
import {
  checkFilters,
  type ErrorCode,
  type FilterSet,
  filterSet,
  isTailraceError,
  parseQuery,
  parseStreamRequest,
  type Query,
  type StreamRequest,
  setAside,
  single,
  toTailraceError,
  urlFilter,
  urlFrom,
  urlHeartbeat,
} from '@tailrace/protocol';
import type { CutReason, Encoding, Outlet, Session, SessionOwner, Start, Subscription } from '../hub/index.ts';
import { sseFrames } from './frame-encoding.ts';
import type { Connection, Gateway } from './gateway.ts';
import type { RequestHead } from './request-head.ts';
import { answerProblem, type Responder } from './responder.ts';
import { own, type SocketOwner } from './socket-owner.ts';
import { sseNotice } from './sse-encoding.ts';
import { subscribeAll } from './subscribe.ts';
import type { Beating } from './wheel.ts';

/** Ordinary time after which an EventSource tries again, ms; drawn anew for each connection so that none march in step. */
const retryMin = 1000;
const retrySpread = 2000;
/** How long a client has to close its side of a stream that ended, ms. */
const closeWait = 5000;

const streamHeaders: readonly string[] = [
  'Content-Type',
  'text/event-stream; charset=utf-8',
  'Cache-Control',
  'no-store, no-transform',
  'X-Accel-Buffering',
  'no',
  'Vary',
  'Origin, Accept',
];

/** `Vary` of a stream names `Origin` already. */
function streamHead(corsHeaders: readonly string[]): string[] {
  const vary = corsHeaders.indexOf('Vary');
  return [...streamHeaders, ...(vary === -1 ? corsHeaders : corsHeaders.toSpliced(vary, 2))];
}

const parameters: readonly string[] = ['filter', 'cursor', 'from', 'raw', 'heartbeat'];

/** GET /v1/sse (§5): all filters are one subscription. */
export function serveSse(
  gateway: Gateway,
  head: RequestHead,
  responder: Responder,
  corsHeaders: readonly string[],
): void {
  judgeSse(gateway, head, responder, corsHeaders, (filters, start, encoding, heartbeat) =>
    new SseConnection(gateway, encoding, responder.outlet, heartbeat).openOne(filters, start, responder, corsHeaders),
  );
}

/** HEAD /v1/sse: what a GET would be told, without the stream. */
export function serveSseHead(
  gateway: Gateway,
  head: RequestHead,
  responder: Responder,
  corsHeaders: readonly string[],
): void {
  judgeSse(gateway, head, responder, corsHeaders, () => responder.answer(200, streamHead(corsHeaders)));
}

/** Refuses the request, answers that all has ended, or goes on to `open`. */
function judgeSse(
  gateway: Gateway,
  head: RequestHead,
  responder: Responder,
  corsHeaders: readonly string[],
  open: (filters: FilterSet, start: Start, encoding: Encoding, heartbeat: number) => void,
): void {
  const refuse = (error: unknown): void => refuseSse(gateway, head, responder, corsHeaders, error);
  try {
    gateway.admit();
    const query = parseQuery(queryOf(head.target), parameters, setAside.subscription);
    const filters = filterSet(checkFilters(query.get('filter')?.map(urlFilter), gateway.o.limits));
    const encoding = rawWanted(query) ? gateway.sseRaw : gateway.sse;
    const asked = single(query, 'heartbeat');
    const heartbeat = asked === undefined ? gateway.o.heartbeat.sse : urlHeartbeat(asked);
    const cursor = head.header('last-event-id') || single(query, 'cursor');
    const from = single(query, 'from');
    const start = gateway.hub.resolveStart(filters, { cursor, from: from === undefined ? from : urlFrom(from) });
    const go = (start: Start): void => {
      if (responder.socket.destroyed) return;
      if (cursor !== undefined && gateway.hub.haveEnded(filters, start.at.offset)) responder.answer(204, corsHeaders);
      else open(filters, start, encoding, heartbeat);
    };
    if (start instanceof Promise) start.then(go).catch(refuse);
    else go(start);
  } catch (error) {
    refuse(error);
  }
}

/** POST /v1/sse (§6): each event's data is one frame of §7. `body` is the whole body. */
export function serveSseFrames(
  gateway: Gateway,
  req: IncomingMessage,
  responder: Responder,
  corsHeaders: readonly string[],
  body: string,
): void {
  const head = { target: req.url ?? '', header: (name: string) => headerOf(req, name) };
  try {
    gateway.admit();
    const { connect, subscribe } = parseStreamRequest(body, gateway.o.limits);
    const heartbeat = connect?.heartbeat ?? gateway.o.heartbeat.sse;
    new SseConnection(gateway, sseFrames, responder.outlet, heartbeat).openMany(subscribe, responder, corsHeaders);
  } catch (error) {
    refuseSse(gateway, head, responder, corsHeaders, error);
  }
}

export function headerOf(req: IncomingMessage, name: string): string | undefined {
  const value = req.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

function rawWanted(query: Query): boolean {
  const raw = single(query, 'raw');
  return raw !== undefined && raw !== '0' && raw !== 'false';
}

export function queryOf(target: string): string {
  const question = target.indexOf('?');
  return question === -1 ? '' : target.slice(question + 1);
}

/**
 * An EventSource dies for ever on 503, 429 and 204. So one that asks for nothing but an event stream gets a retryable
 * refusal as a stream that ends, with a time to come back; whoever accepts more gets the true status.
 */
export function refuseSse(
  gateway: Gateway,
  head: RequestHead,
  responder: Responder,
  corsHeaders: readonly string[],
  thrown: unknown,
): void {
  if (!isTailraceError(thrown)) gateway.o.onFault(thrown);
  const error = toTailraceError(thrown);
  gateway.countRefused(error.code);
  const problem = error.toProblem();
  if (head.header('accept') !== 'text/event-stream' || problem.retry !== 'later') {
    answerProblem(responder, error, corsHeaders);
    return;
  }
  const notice = sseNotice({ type: 'error', ...problem }).toString();
  responder.answer(200, streamHead(corsHeaders), `retry: ${error.retryAfter ?? gateway.reconnectIn()}\n${notice}`);
}

/** One event stream. */
class SseConnection implements Connection, SocketOwner, SessionOwner, Beating {
  readonly transport = 'sse';
  wheelSlot = -1;
  wheelIndex = 0;
  readonly session: Session;
  readonly #gateway: Gateway;
  /** The longest that the stream is quiet, ms. */
  readonly #heartbeat: number;
  #ending = false;

  constructor(gateway: Gateway, encoding: Encoding, outlet: Outlet, heartbeat: number) {
    this.#gateway = gateway;
    this.#heartbeat = heartbeat;
    this.session = gateway.hub.openSession(this.transport, outlet, encoding, this);
  }

  openOne(filters: FilterSet, start: Start, responder: Responder, corsHeaders: readonly string[]): void {
    const { session } = this;
    this.#gateway.hub.subscribe(session, '', filters, start, (cursor, live) => {
      const subscribed = JSON.stringify({
        type: 'subscribed',
        session: session.id,
        heartbeat: this.#heartbeat,
        ...(start.recovered === undefined ? {} : { recovered: start.recovered }),
      });
      const told = live ? sseNotice({ type: 'live', sub: '', cursor }).toString() : '';
      this.#open(
        responder,
        corsHeaders,
        `retry: ${this.#retry()}\nevent: tailrace\nid: ${cursor}\ndata: ${subscribed}\n\n${told}`,
      );
    });
  }

  openMany(items: StreamRequest['subscribe'], responder: Responder, corsHeaders: readonly string[]): void {
    const welcome = sseFrames.notice(this.#gateway.welcome(this.session.id, undefined, this.#heartbeat)).toString();
    this.#open(responder, corsHeaders, `retry: ${this.#retry()}\n${welcome}`);
    const { session } = this;
    // with every item refused there is nothing to wait for
    const endIfBare = (): void => {
      if (!session.closed && session.subscriptions.length === 0) this.#end(undefined);
    };
    const running = subscribeAll(this.#gateway, session, items, undefined);
    if (running === undefined) endIfBare();
    else void running.then(endIfBare);
  }

  #retry(): number {
    return Math.round(retryMin + this.#gateway.o.random.next() * retrySpread);
  }

  #open(responder: Responder, corsHeaders: readonly string[], first: string): void {
    const { socket } = responder;
    own(socket, this);
    // only node:http needs half-open sockets; here the end of the client's side means that it is gone
    socket.allowHalfOpen = false;
    responder.stream(streamHead(corsHeaders), Buffer.from(first));
    this.session.wrote = true;
    this.#gateway.sockets.delete(socket);
    this.#gateway.connections.add(this);
    this.#gateway.wheel.add(this, this.#heartbeat / 2);
  }

  // what a client sends on a stream is for nobody; it is read to see when the client leaves
  received(): void {}

  gone(): void {
    this.#gateway.hub.closeSession(this.session);
    this.#gateway.connections.delete(this);
    this.#gateway.wheel.remove(this);
  }

  beat(): number {
    const { session } = this;
    if (this.#ending) {
      session.outlet.destroy();
      return 0;
    }
    // looked at each half: what was written in the last one is less than a whole one old at the next look
    if (session.wrote) session.wrote = false;
    // no ping to one that lags: it would only queue behind what it does not take
    else if (!session.lagging) session.write(commentBeat, null);
    return this.#heartbeat / 2;
  }

  onCut(session: Session, reason: CutReason): void {
    this.#gateway.countCut(reason);
    this.#gateway.hub.closeSession(session);
    session.outlet.destroy();
  }

  onEnded(session: Session, subscription: Subscription, _code: ErrorCode, retryAfter?: number): void {
    this.#gateway.hub.unsubscribe(subscription);
    if (session.subscriptions.length === 0)
      this.#end(retryAfter === undefined ? undefined : Buffer.from(`retry: ${retryAfter}\n\n`));
  }

  destroy(): void {
    this.session.outlet.destroy();
  }

  drain(within: number): void {
    const notice = this.session.encoding.notice({ type: 'drain', within }).toString();
    this.#end(Buffer.from(`retry: ${within}\n${notice}`));
  }

  #end(last: Buffer | undefined): void {
    this.#ending = true;
    this.#gateway.hub.closeSession(this.session);
    this.session.outlet.end(last);
    this.#gateway.wheel.remove(this);
    this.#gateway.wheel.add(this, closeWait);
  }
}

const commentBeat = Buffer.from(':\n\n');
