import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { TailraceError } from '@tailrace/protocol';
import type { Outlet } from '../hub/index.ts';
import { SocketOutlet } from './socket-outlet.ts';

/** How the answer to one streaming request goes out: on the bare socket, or through node:http. */
export interface Responder {
  readonly socket: Socket;
  /** Where the bytes of a stream go once its head is out. */
  readonly outlet: Outlet;
  /** Sends the head of a 200 without end together with its first bytes. */
  stream(headers: readonly string[], first: Buffer): void;
  /** Sends a whole answer and closes. Without a body it says nothing of its length: a 204, or the head that a GET would get. */
  answer(status: number, headers: readonly string[], body?: string): void;
}

/** Headers are given as alternating names and values. The body of a stream ends with the connection, so it has no framing. */
export class BareResponder implements Responder {
  readonly socket: Socket;
  readonly outlet: Outlet;

  constructor(socket: Socket) {
    this.socket = socket;
    this.outlet = new SocketOutlet(socket);
  }

  stream(headers: readonly string[], first: Buffer): void {
    this.outlet.write(Buffer.concat([Buffer.from(headText(200, headers)), first]));
  }

  answer(status: number, headers: readonly string[], body?: string): void {
    const { socket } = this;
    // node:http takes its own listener off a socket that it gives away, and a broken one would end the process
    socket.on('error', ignore);
    socket.end(headText(status, withLength(headers, body)) + (body ?? ''));
    socket.resume();
    // a client that keeps its side open would keep the descriptor, and is counted nowhere any more
    socket.destroySoon();
  }
}

/**
 * Goes on with the response once it is its turn: a request that was pipelined behind another has no socket before that
 * one is answered. Never, when the connection breaks first.
 */
export function onTurn(res: ServerResponse, go: (responder: ResponseResponder) => void): void {
  if (res.socket !== null) go(new ResponseResponder(res));
  else res.once('socket', () => go(new ResponseResponder(res)));
}

/** For requests that node:http read: kept-alive connections, odd heads, embedded servers. */
export class ResponseResponder implements Responder {
  readonly socket: Socket;
  readonly outlet: Outlet;
  readonly #res: ServerResponse;

  constructor(res: ServerResponse) {
    this.#res = res;
    this.socket = res.socket!;
    this.outlet = new SocketOutlet(this.socket);
  }

  stream(headers: readonly string[], first: Buffer): void {
    const res = this.#res;
    res.shouldKeepAlive = false;
    res.useChunkedEncodingByDefault = false;
    res.writeHead(200, [...headers]);
    res.flushHeaders();
    this.outlet.write(first);
  }

  answer(status: number, headers: readonly string[], body?: string): void {
    const res = this.#res;
    res.writeHead(status, withLength(headers, body));
    res.end(body);
  }
}

function withLength(headers: readonly string[], body: string | undefined): string[] {
  return body === undefined ? [...headers] : [...headers, 'Content-Length', String(Buffer.byteLength(body))];
}

// `close` follows
function ignore(): void {}

function headText(status: number, headers: readonly string[]): string {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
  for (let i = 0; i < headers.length; i += 2) text += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return `${text}Connection: close\r\n\r\n`;
}

/** A refusal as problem JSON (§8). */
export function answerProblem(responder: Responder, error: TailraceError, headers: readonly string[]): void {
  const problem = error.toProblem();
  const all = ['Content-Type', 'application/problem+json', 'Cache-Control', 'no-store', ...headers];
  if (problem.retryAfter !== undefined) all.push('Retry-After', String(Math.ceil(problem.retryAfter / 1000)));
  responder.answer(problem.status, all, JSON.stringify(problem));
}
