import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createSocketServer, Socket, type Server as SocketServer } from 'node:net';
import { TailraceError } from '@tailrace/protocol';
import { corsHeaders, type OriginPolicy } from '../admission/index.ts';
import { absoluteForm } from '../api/index.ts';
import { Deadlines, type Expiring } from '../hub/index.ts';
import type { Clock } from '../log/index.ts';
import { BarePublisher, type BarePublishing } from './bare-publisher.ts';
import type { Gateway } from './gateway.ts';
import { Pipelines } from './pipelines.ts';
import { mayBePublish, PublishHeads } from './publish-head.ts';
import { type BareHead, mayBeStream, pathOf, readHead } from './request-head.ts';
import { headTooSlow, judgeBroken, judgeBrokenBody, judgeMessage } from './request-rules.ts';
import { answerProblem, BareResponder, ResponseResponder } from './responder.ts';
import { disown, own, type SocketOwner } from './socket-owner.ts';
import { headerOf, refuseSse, serveSse } from './sse.ts';
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

const noTunnel = new TailraceError('method_not_allowed', 'this server is no proxy: it does not offer CONNECT');
const allowed = ['Allow', 'GET, HEAD, OPTIONS, POST'];

/**
 * The front door: looks at the first bytes of each connection. A strictly valid streaming GET is answered on the bare
 * socket (3–4 KB a connection instead of 17–20 for a held response); everything else is node:http's, which never
 * listens itself and is handed sockets.
 */
export class Door {
  readonly http: Server;
  /** Open sockets that are not the gateway's: not sorted yet, or node:http's. */
  readonly sockets: Set<Socket>;
  readonly #o: DoorOptions;
  readonly #listeners: SocketServer[] = [];
  readonly #headDeadlines: Deadlines;
  readonly #stopSweep: () => void;
  readonly #publishing: BarePublishing;
  readonly #publishers = new Set<BarePublisher>();
  readonly #pipelines = new Pipelines();

  constructor(options: DoorOptions) {
    this.#o = options;
    this.sockets = options.gateway.sockets;
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
      shouldUpgradeCallback: ({ url = '' }) => pathOf(absoluteForm(url)?.url ?? url) === '/v1/ws',
    });
    // whoever sends a request may end its side before the answer
    (this.http as Server & { httpAllowHalfOpen: boolean }).httpAllowHalfOpen = true;
    const handle = (req: IncomingMessage, res: ServerResponse): void => {
      this.#pipelines.add(req, res, () => {
        const refusal = judgeMessage(req);
        // what follows an upgrade that is not taken up may be lost in node:http
        if (req.headers.upgrade !== undefined) res.setHeader('Connection', 'close');
        if (refusal === undefined) options.handle(req, res);
        else {
          res.setHeader('Connection', 'close');
          answerProblem(new ResponseResponder(res), refusal, []);
        }
      });
    };
    this.http.on('request', handle);
    this.http.on('checkContinue', handle);
    this.http.on('checkExpectation', handle);
    this.http.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#broken(error, socket as Socket));
    this.http.on('upgrade', (req, socket, head) =>
      this.#pipelines.whenAnswered(req.socket, () => this.upgrade(req, socket as Socket, head)),
    );
    this.http.on('connect', ({ socket }) =>
      this.#pipelines.whenAnswered(socket, () => refuse(socket, noTunnel, allowed)),
    );
    // a server that never listens begins to watch its header time-outs only when told that it does
    this.http.emit('listening');
  }

  /** Bytes that are no request, or not the body that its head announced. */
  #broken(error: NodeJS.ErrnoException, socket: Socket): void {
    const newest = this.#pipelines.newest(socket);
    const inBody = newest !== undefined && !newest.req.complete;
    if (inBody && newest.headersSent) socket.destroy();
    else {
      const refusal = inBody ? judgeBrokenBody(error, newest.req) : judgeBroken(error, this.#o.headerMax);
      this.#pipelines.whenAnswered(socket, () => refuse(socket, refusal));
    }
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
    const { connections, polls } = this.#o.gateway;
    return this.sockets.size + connections.size - polls;
  }

  /** Heads of requests whose deadline is watched; some of them may have come since the last sweep. */
  get deadlineCount(): number {
    return this.#headDeadlines.size;
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
    const { headers, url = '' } = req;
    const absolute = absoluteForm(url);
    const head = {
      target: absolute?.url ?? url,
      header: (name: string): string | undefined => headerOf(req, name),
    };
    // node:http puts a stream of its own in front of the socket when the request has a body
    const bodiless = socket instanceof Socket;
    const responder = new BareResponder(bodiless ? socket : req.socket);
    this.#letGo(responder.socket);
    const broken = judgeMessage(req);
    const verdict = this.#o.origins.check({
      host: absolute?.host ?? headers.host,
      origin: headers.origin,
      secFetchSite: head.header('sec-fetch-site'),
    });
    if (broken !== undefined) answerProblem(responder, broken, []);
    else if (!bodiless)
      answerProblem(responder, new TailraceError('bad_request', 'a WebSocket handshake has no body'), []);
    else if ('error' in verdict) answerProblem(responder, verdict.error, []);
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

  /** Requests that node:http is answering. */
  get inFlight(): number {
    return this.#pipelines.inFlight;
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
    else refuse(this.#socket, headTooSlow());
  }
}

/** Answers what cannot be served, and closes. */
function refuse(socket: Socket, error: TailraceError, headers: readonly string[] = []): void {
  if (!socket.writable || socket.destroyed) socket.destroy();
  else answerProblem(new BareResponder(socket), error, headers);
}
