import type { IncomingMessage, ServerResponse } from 'node:http';
import { TailraceError } from '@tailrace/protocol';
import type { HeaderList } from '../admission/index.ts';
import type { Clock } from '../log/index.ts';
import { type Answers, problemBody, problemHeaders } from './answers.ts';
import { paceBody } from './pace-body.ts';

/** Given the whole body of one request; not called when the client went away before its end. */
export type TakeBody<T> = (
  req: IncomingMessage,
  res: ServerResponse,
  cors: HeaderList,
  body: Buffer,
  context: T,
) => void;

/** What a body is read for: how much of it, and what its sender is told when it does not come to that. */
export interface BodyUse {
  /** Bytes. */
  readonly max: number;
  readonly tooLarge: string;
  readonly tooSlow: string;
}

/** Something that has to look around from time to time. */
export interface Swept {
  /** Called about every `sweepMs`; false when it is over and can be forgotten. */
  sweep(): boolean;
}

/** ms between two looks at the open bodies. */
export const sweepMs = 100;

/** A refused body is read on, and thrown away, for so long: a close with bytes unread would take the answer with it. */
const lingerMs = 1000;
const lingerBytes = 4 * 1024 * 1024;

const noBytes: Buffer = Buffer.alloc(0);
const openBody: unique symbol = Symbol('open body');

interface Carrier extends IncomingMessage {
  [openBody]?: OpenBody;
}

/**
 * Request bodies as they come in: limits before growth (I6), and one sweep for all that stall instead of a timer each
 * (I8). Nothing of a body is used before its end has come.
 */
export class Bodies {
  readonly answers: Answers;
  /** Sweeps a body may stay without progress. */
  readonly patience: number;
  readonly #clock: Clock;
  readonly #open = new Set<Swept>();
  readonly #stop: () => void;

  constructor(answers: Answers, clock: Clock, timeoutMs: number) {
    this.answers = answers;
    this.#clock = clock;
    this.patience = Math.max(1, Math.ceil(timeoutMs / sweepMs));
    this.#stop = clock.every(sweepMs, () => this.#sweep());
  }

  /** Bodies being read. */
  get size(): number {
    return this.#open.size;
  }

  add(swept: Swept): void {
    this.#open.add(swept);
  }

  /** Lets the others have their turn while this body comes in. */
  pace(req: IncomingMessage): void {
    paceBody(req, this.#clock);
  }

  delete(swept: Swept): void {
    this.#open.delete(swept);
  }

  close(): void {
    this.#stop();
  }

  /** Reads a body and gives it to `take`; answers by itself when that is not to be. */
  collect<T>(
    req: IncomingMessage,
    res: ServerResponse,
    cors: HeaderList,
    use: BodyUse,
    take: TakeBody<T>,
    context: T,
  ): void {
    const { headers } = req;
    const announced = headers['content-length'];
    if (announced === undefined && headers['transfer-encoding'] === undefined) {
      take(req, res, cors, noBytes, context);
      return;
    }
    const length = announced === undefined ? use.max : Number(announced);
    if (length > use.max) {
      this.refuse(req, res, cors, tooLarge(use));
      return;
    }
    if (headers.expect !== undefined) sendContinue(res);
    const body = new OpenBody(this, req, res, cors, use, length, take as TakeBody<unknown>, context);
    (req as Carrier)[openBody] = body;
    this.#open.add(body);
    this.pace(req);
    req.on('data', onData);
    req.on('end', onEnd);
  }

  /**
   * Answers with a problem before the body was read to its end, and closes. A client that is still sending gets a moment
   * to see the answer.
   */
  refuse(req: IncomingMessage, res: ServerResponse, cors: HeaderList, cause: unknown, more: HeaderList = []): void {
    if (req.complete || res.headersSent || !hasBody(req)) {
      this.answers.problem(res, cause, cors, more);
      return;
    }
    const error = this.answers.asError(cause, req);
    const text = problemBody(error);
    res.writeHead(error.status, [...problemHeaders(error, text), 'Connection', 'close', ...cors, ...more]);
    res.write(text);
    this.linger(req, res);
  }

  /** Throws away what still comes of a body, then ends the answer and with it the connection. */
  linger(req: IncomingMessage, res: ServerResponse): void {
    const lingering = new Lingering(this, req, res);
    this.#open.add(lingering);
    req.off('data', onData);
    req.off('end', onEnd);
    lingering.start();
  }

  #sweep(): void {
    for (const swept of this.#open) if (!swept.sweep()) this.#open.delete(swept);
  }
}

/** Whether the request announces a body. */
export function hasBody(req: IncomingMessage): boolean {
  const { headers } = req;
  if (headers['transfer-encoding'] !== undefined) return true;
  const length = headers['content-length'];
  return length !== undefined && length !== '0';
}

/**
 * Asks a client that waits for leave to send its body. A server that takes `checkContinue` leaves that to us; another
 * one, in which we are embedded, has asked already. HTTP/1.0 knows no such answer (RFC 9110 §10.1.1).
 */
export function sendContinue(res: ServerResponse): void {
  if (res.req.httpVersion === '1.0') return;
  if ((res as ServerResponse & { _sent100?: boolean })._sent100 !== true) res.writeContinue();
}

function onData(this: Carrier, chunk: Buffer): void {
  this[openBody]!.data(chunk);
}

function onEnd(this: Carrier): void {
  this[openBody]!.end();
}

function tooLarge(use: BodyUse): TailraceError {
  return new TailraceError('payload_too_large', use.tooLarge);
}

class OpenBody implements Swept {
  readonly #bodies: Bodies;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  readonly #cors: HeaderList;
  readonly #use: BodyUse;
  /** The body is no longer than this. */
  readonly #length: number;
  readonly #take: TakeBody<unknown>;
  readonly #context: unknown;
  #bytes: Buffer = noBytes;
  #filled = 0;
  #idle = 0;

  constructor(
    bodies: Bodies,
    req: IncomingMessage,
    res: ServerResponse,
    cors: HeaderList,
    use: BodyUse,
    length: number,
    take: TakeBody<unknown>,
    context: unknown,
  ) {
    this.#bodies = bodies;
    this.#req = req;
    this.#res = res;
    this.#cors = cors;
    this.#use = use;
    this.#length = length;
    this.#take = take;
    this.#context = context;
  }

  data(chunk: Buffer): void {
    this.#idle = 0;
    const needed = this.#filled + chunk.length;
    if (needed > this.#use.max) {
      this.#bodies.delete(this);
      this.#bodies.refuse(this.#req, this.#res, this.#cors, tooLarge(this.#use));
      return;
    }
    if (this.#filled === 0) this.#bytes = chunk;
    else {
      // doubling, so that a body of one-byte chunks is neither a list of a million buffers nor copied a million times
      if (needed > this.#bytes.length) {
        const grown = Buffer.allocUnsafe(Math.min(this.#length, Math.max(needed, 2 * this.#bytes.length)));
        this.#bytes.copy(grown, 0, 0, this.#filled);
        this.#bytes = grown;
      }
      chunk.copy(this.#bytes, this.#filled);
    }
    this.#filled = needed;
  }

  end(): void {
    this.#bodies.delete(this);
    const bytes = this.#filled === this.#bytes.length ? this.#bytes : this.#bytes.subarray(0, this.#filled);
    this.#take(this.#req, this.#res, this.#cors, bytes, this.#context);
  }

  sweep(): boolean {
    if (this.#req.destroyed) return false;
    if (++this.#idle <= this.#bodies.patience) return true;
    this.#bodies.refuse(this.#req, this.#res, this.#cors, new TailraceError('request_timeout', this.#use.tooSlow));
    return false;
  }
}

class Lingering implements Swept {
  readonly #bodies: Bodies;
  readonly #req: IncomingMessage;
  readonly #res: ServerResponse;
  #left = lingerMs / sweepMs;
  #bytes = 0;

  constructor(bodies: Bodies, req: IncomingMessage, res: ServerResponse) {
    this.#bodies = bodies;
    this.#req = req;
    this.#res = res;
  }

  start(): void {
    this.#req.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length;
      if (this.#bytes > lingerBytes) this.#finish();
    });
    this.#req.on('end', () => this.#finish());
    this.#req.resume();
  }

  sweep(): boolean {
    if (this.#req.destroyed) return false;
    if (--this.#left > 0) return true;
    this.#finish();
    return false;
  }

  #finish(): void {
    this.#bodies.delete(this);
    if (this.#res.writableEnded) return;
    // an answer that began as one of many has no `Connection: close`: node:http would keep what cannot be used again
    if (!this.#req.complete) this.#res.once('finish', () => this.#req.socket.destroySoon());
    this.#res.end();
  }
}
