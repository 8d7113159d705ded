import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { holdReading } from '../api/index.ts';
import { pathOf } from './request-head.ts';

/** Requests of one connection that are begun before the first of them is answered. */
const begunMax = 64;

/** The requests of one connection of node:http's that have no whole answer yet. */
interface Pipeline {
  begun: number;
  /** Not begun, in order. They come from one read, since the connection is not read on meanwhile. */
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
 * What is being answered on the connections of node:http. It would begin every request as soon as it is parsed, and
 * keep the answers of all that came behind a slow one; here a connection has so many under way, and is not read on
 * before they are answered.
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
      pipeline = { begun: 0, waiting: [], readOn: ignore, newest: res, behindStream: false, next: undefined };
      this.#of.set(socket, pipeline);
    } else {
      pipeline.behindStream ||= isStream(pipeline.newest);
      pipeline.newest = res;
    }
    this.inFlight++;
    let begun = false;
    const taken = pipeline;
    const start = (): void => {
      begun = true;
      taken.begun++;
      begin();
    };
    res.once('close', () => {
      this.inFlight--;
      if (begun) taken.begun--;
      this.#answered(socket, taken);
    });
    if (pipeline.begun < begunMax && pipeline.waiting.length === 0) start();
    else if (pipeline.waiting.push(start) === 1) pipeline.readOn = holdReading(socket);
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
    if (socket.destroyed) waiting.length = 0;
    else if (waiting.length > 0) {
      while (waiting.length > 0 && pipeline.begun < begunMax) waiting.shift()!();
      if (waiting.length === 0) pipeline.readOn();
    }
    if (pipeline.begun + waiting.length === 0) this.#of.delete(socket);
    const { next } = pipeline;
    if (next === undefined || answerable(pipeline) > 0) return;
    pipeline.next = undefined;
    if (socket.writable) next();
  }
}

/** How many can still be answered: the newest cannot before its body has come. */
function answerable({ begun, waiting, newest }: Pipeline): number {
  const count = begun + waiting.length;
  return newest.req.complete ? count : count - 1;
}

function isStream({ req }: ServerResponse): boolean {
  return req.method !== 'HEAD' && pathOf(req.url ?? '').endsWith('/v1/sse');
}

function ignore(): void {}
