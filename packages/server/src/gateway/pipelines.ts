import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { holdReading } from '../api/index.ts';
import { pathOf } from './request-head.ts';

/**
 * A connection with so many requests that wait for their turn is not read on. With fewer it is, since only who reads
 * learns that the client is gone.
 */
const waitingMax = 64;

/** The requests of one connection of node:http's that have no whole answer yet. */
interface Pipeline {
  /** The first of them is being answered. */
  busy: boolean;
  /** Not begun, in order: up to `waitingMax` and what came in the same read. */
  readonly waiting: (() => void)[];
  /** Called when none waits any more. */
  readOn: () => void;
  newest: ServerResponse;
  /** One before the newest is an answer without end. */
  behindStream: boolean;
  /** What is done with the connection once they are answered. */
  next: (() => void) | undefined;
}

/**
 * The requests of each connection of node:http's, one after another. By itself it would begin each as soon as it is
 * parsed: those behind one that is answered with `Connection: close`, which nobody may process (RFC 9112 §9.6), those
 * that are not safe to run beside others (RFC 9112 §9.3.2), and any number behind one that waits.
 */
export class Pipelines {
  /** Requests without a whole answer. */
  inFlight = 0;
  readonly #of = new Map<Socket, Pipeline>();

  /** Takes a request, and calls `begin` when its turn has come. */
  add(req: IncomingMessage, res: ServerResponse, begin: () => void): void {
    const { socket } = req;
    let pipeline = this.#of.get(socket);
    if (pipeline === undefined) {
      pipeline = { busy: false, waiting: [], readOn: ignore, newest: res, behindStream: false, next: undefined };
      this.#of.set(socket, pipeline);
    } else {
      pipeline.behindStream ||= isStream(pipeline.newest);
      pipeline.newest = res;
    }
    this.inFlight++;
    const taken = pipeline;
    res.once('close', () => {
      this.inFlight--;
      this.#answered(socket, taken);
    });
    if (!pipeline.busy) {
      pipeline.busy = true;
      begin();
    } else if (pipeline.waiting.push(begin) === waitingMax) pipeline.readOn = holdReading(socket);
  }

  /** The newest answer of a connection, unless all are given. */
  newest(socket: Socket): ServerResponse | undefined {
    return this.#of.get(socket)?.newest;
  }

  /**
   * Does this with a connection once what was asked on it before is answered, so that nothing is ever written into an
   * answer.
   */
  whenAnswered(socket: Socket, next: () => void): void {
    const pipeline = this.#of.get(socket);
    if (pipeline === undefined || answerable(pipeline) === 0) next();
    else if (pipeline.behindStream || (pipeline.newest.req.complete && isStream(pipeline.newest))) socket.destroy();
    else {
      if (pipeline.next === undefined) socket.on('error', ignore); // `close` follows
      pipeline.next = next;
    }
  }

  #answered(socket: Socket, pipeline: Pipeline): void {
    const { waiting } = pipeline;
    // it may have ended with that answer
    const begin = socket.writable ? waiting.shift() : undefined;
    if (begin !== undefined) {
      begin();
      if (waiting.length === 0) {
        pipeline.readOn();
        pipeline.readOn = ignore;
      }
    } else {
      pipeline.busy = false;
      this.#of.delete(socket);
    }
    const { next } = pipeline;
    if (next === undefined || answerable(pipeline) > 0) return;
    pipeline.next = undefined;
    if (socket.writable) next();
  }
}

/** How many can still be answered: the newest cannot before its body has come. */
function answerable({ busy, waiting, newest }: Pipeline): number {
  const count = (busy ? 1 : 0) + waiting.length;
  return newest.req.complete ? count : count - 1;
}

function isStream({ req }: ServerResponse): boolean {
  return req.method !== 'HEAD' && pathOf(req.url ?? '').endsWith('/v1/sse');
}

function ignore(): void {}
