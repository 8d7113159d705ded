import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createSocketServer, Socket, type Server as SocketServer } from 'node:net';
import { TailraceError } from '@tailrace/protocol';
import { corsHeaders, type OriginPolicy } from '../admission/index.ts';
import { Deadlines, type Expiring } from '../hub/index.ts';
import type { Clock } from '../log/index.ts';
import { BarePublisher, type BarePublishing } from './bare-publisher.ts';
import type { Gateway } from './gateway.ts';
import { mayBePublish, PublishHeads } from './publish-head.ts';
import { type BareHead, mayBeStream, readHead } from './request-head.ts';
import { answerProblem, BareResponder, ResponseResponder } from './responder.ts';
import { disown, own, type SocketOwner } from './socket-owner.ts';
import { refuseSse, serveSse } from './sse.ts';
import { upgradeToWebSocket } from './websocket/upgrade.ts';

export interface DoorOptions {
  readonly gateway: Gateway;
  readonly origins: OriginPolicy;
  readonly clock: Clock;
  /** Everything that is not a streaming GET, and streaming GETs that node:http had to read. */
  readonly handle: (req: IncomingMessage, res: ServerResponse) => void;
  /** Bytes of a request head. */
  readonly headerMax: number;
  /** ms for a request head to arrive. */
  readonly headerTimeout: number;
  /** Sockets beyond the gateway's limit that are still read, to be refused in a form they understand. */
  readonly spare: number;
  readonly connectionsMax: number;
}

/** libuv accepts one connection per listener and turn: beside 0.5 ms slices of delivery that is 1,650/s with one, 7,000/s with eight. */
const listenerCount = 8;

/** A kept-alive connection that asks for nothing is closed after one to two times this, ms. */
const keepAlive = 65_000;
/** A larger body is left to node:http, which streams it, bytes. */
const barePublishMax = 64 * 1024;
const publishStart = 'POST /v1/topics/'.length;

/**
 * The front door: looks at the first bytes of each connection. A strictly valid streaming GET is answered on the bare
 * socket (3–4 KB a connection instead of 17–20 for a held response); everything else is node:http's, which never
 * listens itself and is handed sockets.
 */
export class Door {
  readonly http: Server;
  /** Open sockets that are not the gateway's: not sorted yet, or node:http's. */
  readonly sockets: Set<Socket> = new Set();
  /** Requests that node:http is answering. */
  inFlight = 0;
  readonly #o: DoorOptions;
  readonly #listeners: SocketServer[] = [];
  readonly #headDeadlines: Deadlines;
  readonly #stopSweep: () => void;
  readonly #publishing: BarePublishing;
  readonly #publishers = new Set<BarePublisher>();
  /** The requests of node:http's connections that are being answered. */
  readonly #answering = new Map<Socket, Answering>();

  constructor(options: DoorOptions) {
    this.#o = options;
    this.#headDeadlines = new Deadlines(options.clock, options.headerTimeout);
    const stopHeads = options.clock.every(Math.min(500, options.headerTimeout), () => this.#headDeadlines.sweep());
    const stopIdle = options.clock.every(keepAlive, () => this.#endIdlePublishers());
    this.#stopSweep = () => {
      stopHeads();
      stopIdle();
    };
    const { gateway, clock } = options;
    this.#publishing = {
      hub: gateway.hub,
      clock,
      limits: gateway.o.limits,
      heads: new PublishHeads(options.origins, options.headerMax, barePublishMax),
      results: gateway.o.results,
      deadlines: this.#headDeadlines,
      onFault: gateway.o.onFault,
      handOver: (socket, bytes) => this.#handOver(socket, bytes),
      onGone: publisher => this.#publishers.delete(publisher),
    };
    this.http = createServer({
      maxHeaderSize: options.headerMax,
      headersTimeout: options.headerTimeout,
      connectionsCheckingInterval: Math.min(1000, options.headerTimeout),
      requireHostHeader: false, // refused below, in the form of all errors
      requestTimeout: 0, // an NDJSON body may last for ever; slow ones are watched by the api
      keepAliveTimeout: keepAlive,
      noDelay: true,
      shouldUpgradeCallback: req => pathOf(req.url ?? '') === '/v1/ws',
    });
    // whoever sends a request may end its side before the answer
    (this.http as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
    const handle = (req: IncomingMessage, res: ServerResponse): void => {
      this.#begin(req, res);
      const refusal = judgeMessage(req);
      if (refusal === undefined) options.handle(req, res);
      else {
        res.setHeader('Connection', 'close');
        answerProblem(new ResponseResponder(res), refusal, []);
      }
    };
    this.http.on('request', handle);
    this.http.on('checkContinue', handle);
    this.http.on('checkExpectation', handle);
    this.http.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#broken(error, socket as Socket));
    this.http.on('upgrade', (req, socket, head) => this.upgrade(req, socket as Socket, head));
    // a server that never listens begins to watch its header time-outs only when told that it does
    this.http.emit('listening');
  }

  #begin(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req;
    this.inFlight++;
    const answering = this.#answering.get(socket) ?? { count: 0, newest: req, stream: false, broken: undefined };
    answering.count++;
    answering.newest = req;
    answering.stream ||= pathOf(req.url ?? '').endsWith('/v1/sse');
    this.#answering.set(socket, answering);
    res.once('close', () => {
      this.inFlight--;
      if (--answering.count > 0) return;
      this.#answering.delete(socket);
      if (answering.broken !== undefined) refuseBroken(answering.broken, socket, this.#o.headerMax);
    });
  }

  /** Bytes that are no request: refused once the whole requests before them are answered, and never inside an answer. */
  #broken(error: NodeJS.ErrnoException, socket: Socket): void {
    const answering = this.#answering.get(socket);
    if (answering === undefined) refuseBroken(error, socket, this.#o.headerMax);
    else if (answering.stream || !answering.newest.complete) socket.destroy();
    else answering.broken = error;
  }

  /** Opens the port; 0 takes a free one. Resolves with the address. */
  async listen(host: string, port: number): Promise<AddressInfo> {
    const first = await this.#listen(host, port);
    const address = first.address() as AddressInfo;
    try {
      while (this.#listeners.length < listenerCount) await this.#listen(host, address.port);
    } catch {
      // no reusePort on this system: one listener, which slices make room for
    }
    return address;
  }

  #listen(host: string, port: number): Promise<SocketServer> {
    const server = createSocketServer({ noDelay: true }, socket => this.accept(socket));
    return new Promise((resolve, reject) => {
      const listening = (): void => {
        server.off('error', failed);
        this.#listeners.push(server);
        resolve(server);
      };
      const failed = (error: NodeJS.ErrnoException): void => {
        if (this.#listeners.length === 0 && error.code === 'ENOTSUP') server.listen({ host, port, backlog: 4096 });
        else reject(error);
      };
      server.once('listening', listening);
      server.on('error', failed);
      server.listen({ host, port, backlog: 4096, reusePort: true });
    });
  }

  /** Takes a fresh connection. */
  accept(socket: Socket): void {
    if (this.connectionCount >= this.#o.connectionsMax + this.#o.spare) {
      this.#o.gateway.countRefused('too_many_connections');
      socket.destroy();
      return;
    }
    this.sockets.add(socket);
    new HeadWatch(this, socket, this.#headDeadlines);
  }

  /** Open connections: those that stream, and those that do not (yet). */
  get connectionCount(): number {
    return this.sockets.size + this.#o.gateway.connections.size;
  }

  /** Decides what a connection is by what it sent so far; true when decided. */
  sort(socket: Socket, bytes: Buffer): boolean {
    if (!mayBeStream(bytes)) {
      if (!mayBePublish(bytes)) return this.#handOver(socket, bytes);
      if (bytes.length < publishStart) return false;
      const publisher = new BarePublisher(this.#publishing, socket);
      socket.once('close', () => this.sockets.delete(socket));
      this.#publishers.add(publisher);
      publisher.received(bytes);
      return true;
    }
    const result = readHead(bytes);
    if (result === 'other' || (result !== 'more' && result.end > this.#o.headerMax))
      return this.#handOver(socket, bytes);
    if (result === 'more') return bytes.length > this.#o.headerMax ? this.#handOver(socket, bytes) : false;
    const rest = bytes.subarray(result.end);
    if (pathOf(result.head.target) === '/v1/ws') this.#upgradeBare(socket, result.head, rest);
    // a second request behind a stream will never be answered here: node:http decides what to make of it
    else if (rest.length > 0) return this.#handOver(socket, bytes);
    else this.#streamBare(socket, result.head);
    return true;
  }

  #handOver(socket: Socket, bytes: Buffer): true {
    disown(socket);
    socket.allowHalfOpen = true;
    socket.on('close', () => this.sockets.delete(socket));
    this.http.emit('connection', socket);
    socket.unshift(bytes);
    socket.resume(); // a publisher that waited for its answers has paused it
    return true;
  }

  #streamBare(socket: Socket, head: BareHead): void {
    this.#letGo(socket);
    const responder = new BareResponder(socket);
    const verdict = this.#o.origins.check({
      host: head.header('host'),
      origin: head.header('origin'),
      secFetchSite: head.header('sec-fetch-site'),
    });
    if ('error' in verdict) {
      answerProblem(responder, verdict.error, []);
      return;
    }
    const cors = corsHeaders(verdict.allowOrigin);
    const path = pathOf(head.target);
    if (path === '/v1/sse') serveSse(this.#o.gateway, head, responder, cors);
    else refuseSse(this.#o.gateway, head, responder, cors, new TailraceError('not_found', `no path ${path}`));
  }

  #upgradeBare(socket: Socket, head: BareHead, rest: Buffer): void {
    this.#letGo(socket);
    const verdict = this.#o.origins.check({
      host: head.header('host'),
      origin: head.header('origin'),
      secFetchSite: head.header('sec-fetch-site'),
    });
    const responder = new BareResponder(socket);
    if ('error' in verdict) answerProblem(responder, verdict.error, []);
    else upgradeToWebSocket(this.#o.gateway, 'GET', '1.1', head, responder, rest, corsHeaders(verdict.allowOrigin));
  }

  /** The gateway has it from here, or an answer is on its way and closes it. */
  #letGo(socket: Socket): void {
    this.sockets.delete(socket);
  }

  /** An upgrade that node:http read, or that an embedding server passes on. */
  upgrade(req: IncomingMessage, socket: Socket, rest: Buffer): void {
    const head = {
      target: req.url ?? '',
      header: (name: string): string | undefined => {
        const value = req.headers[name];
        return Array.isArray(value) ? value.join(', ') : value;
      },
    };
    const verdict = this.#o.origins.check({
      host: head.header('host'),
      origin: head.header('origin'),
      secFetchSite: head.header('sec-fetch-site'),
    });
    if (!(socket instanceof Socket)) {
      // node:http puts a stream of its own in front of the socket when the request has a body
      const error = new TailraceError('bad_request', 'a WebSocket handshake has no body');
      answerProblem(new BareResponder(req.socket), error, []);
      return;
    }
    const responder = new BareResponder(socket);
    if ('error' in verdict) answerProblem(responder, verdict.error, []);
    // an app may have mounted it under a prefix, and passes on every upgrade it gets
    else if (!pathOf(head.target).endsWith('/v1/ws'))
      answerProblem(responder, new TailraceError('not_found', 'WebSocket is spoken at /v1/ws'), []);
    else
      upgradeToWebSocket(
        this.#o.gateway,
        req.method ?? '',
        req.httpVersion,
        head,
        responder,
        rest,
        corsHeaders(verdict.allowOrigin),
      );
  }

  /** Takes no new connection; those queued in the kernel are reset unless tcp_migrate_req is set. */
  stopListening(): Promise<void> {
    return Promise.all(this.#listeners.map(server => new Promise<void>(resolve => server.close(() => resolve())))).then(
      () => {},
    );
  }

  /** Closes kept-alive connections that wait for a next request. */
  closeIdle(): void {
    this.http.closeIdleConnections();
    for (const publisher of this.#publishers) publisher.end();
  }

  /** Publishes on bare sockets that have no answer yet. */
  get publishing(): number {
    let count = 0;
    for (const { outstanding } of this.#publishers) count += outstanding;
    return count;
  }

  #endIdlePublishers(): void {
    for (const publisher of this.#publishers) {
      if (!publisher.active && publisher.outstanding === 0) publisher.end();
      publisher.active = false;
    }
  }

  /** Cuts what is left. */
  destroy(): void {
    this.#stopSweep();
    for (const socket of this.sockets) socket.destroy();
    this.http.close();
  }
}

/** A connection that has not said yet what it wants: holds at most one head, for at most the header time-out. */
class HeadWatch implements Expiring, SocketOwner {
  settled = false;
  #bytes: Buffer | undefined;
  readonly #socket: Socket;
  readonly #door: Door;

  constructor(door: Door, socket: Socket, deadlines: Deadlines) {
    this.#socket = socket;
    this.#door = door;
    own(socket, this);
    deadlines.add(this);
  }

  received(chunk: Buffer): void {
    if (this.settled) return; // answered already; the rest of what it sends is for nobody
    const bytes = this.#bytes === undefined ? chunk : Buffer.concat([this.#bytes, chunk]);
    this.#bytes = undefined;
    this.settled = true; // what it becomes has time-outs of its own
    if (!this.#door.sort(this.#socket, bytes)) {
      this.settled = false;
      this.#bytes = bytes;
    }
  }

  gone(): void {
    this.settled = true;
    this.#door.sockets.delete(this.#socket);
  }

  expire(): void {
    this.settled = true;
    if (this.#bytes === undefined) this.#socket.destroy();
    else refuseBroken(Object.assign(new Error('head too slow'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), this.#socket, 0);
  }
}

/** Answers bytes that are no HTTP request. */
function refuseBroken(error: NodeJS.ErrnoException, socket: Socket, headerMax: number): void {
  if (!socket.writable || socket.destroyed) {
    socket.destroy();
    return;
  }
  const refusal =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new TailraceError(
          'headers_too_large',
          `the request head exceeds limits.header (${headerMax} bytes), or has too many lines`,
        )
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? new TailraceError('request_timeout', 'the request head did not arrive within header.timeout')
        : new TailraceError('bad_request', `not a valid HTTP/1.1 request: ${error.message}`);
  answerProblem(new BareResponder(socket), refusal, []);
  socket.destroySoon();
}

function hostCount(req: IncomingMessage): number {
  const { rawHeaders } = req;
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === 'host') count++;
  return count;
}

function pathOf(target: string): string {
  const question = target.indexOf('?');
  return question === -1 ? target : target.slice(0, question);
}

interface Answering {
  count: number;
  newest: IncomingMessage;
  /** One of them is an answer without end. */
  stream: boolean;
  /** What was wrong with the bytes behind them. */
  broken: NodeJS.ErrnoException | undefined;
}

/** What node:http lets pass and this server does not. */
function judgeMessage(req: IncomingMessage): TailraceError | undefined {
  if (req.httpVersion === '1.1' && req.headers.host === undefined)
    return new TailraceError('bad_request', 'the request has no Host header, which HTTP/1.1 requires');
  // node:http takes the first, a proxy in front perhaps the last
  if (hostCount(req) > 1) return new TailraceError('bad_request', 'the request has two Hosts');
  if (req.httpVersion !== '1.1' && req.httpVersion !== '1.0')
    return new TailraceError('bad_request', `HTTP/${req.httpVersion} is not spoken here: use HTTP/1.1`);
  const coding = req.headers['transfer-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'chunked')
    return new TailraceError(
      'bad_request',
      `Transfer-Encoding ${JSON.stringify(coding)}: only "chunked" is understood`,
    );
  const { expect } = req.headers;
  if (expect !== undefined && expect.toLowerCase() !== '100-continue')
    return new TailraceError('bad_request', `Expect ${JSON.stringify(expect)}: only "100-continue" is understood`);
  return undefined;
}
