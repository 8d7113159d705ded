import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import {
  checkMessage,
  type FrameLimits,
  type Message,
  type MessageFields,
  type TailraceError,
  toTailraceError,
} from '@tailrace/protocol';
import type { PublishResults } from '../api/index.ts';
import type { Deadlines, Expiring, Hub } from '../hub/index.ts';
import type { Clock } from '../log/index.ts';
import type { PublishHeads } from './publish-head.ts';
import { own, type SocketOwner } from './socket-owner.ts';

/** What all bare publishers share. */
export interface BarePublishing {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly limits: FrameLimits;
  readonly heads: PublishHeads;
  readonly results: PublishResults;
  /** Time for a request to arrive whole; then node:http may judge what there is. */
  readonly deadlines: Deadlines;
  readonly onFault: (error: unknown) => void;
  /** Gives the connection to node:http, which sees these bytes first. */
  readonly handOver: (socket: Socket, bytes: Buffer) => void;
  readonly onGone: (publisher: BarePublisher) => void;
}

/** Requests of one connection that may wait for their answer before it is left unread. */
const outstandingMax = 1024;
const noFields: MessageFields = Object.freeze({});

/** Answers of a stretch of requests that were published together. */
interface Batch {
  readonly requests: number;
  answers: string | undefined;
}

/**
 * A kept-alive connection that publishes, answered on the bare socket: the requests of one chunk go to the log in one
 * append, and their answers back in one write. At the first request that is not plain the connection becomes
 * node:http's, once all before it are answered.
 */
export class BarePublisher implements SocketOwner, Expiring {
  /** Something arrived or was answered since the last look. */
  active = true;
  settled = true;
  readonly #socket: Socket;
  readonly #o: BarePublishing;
  #rest: Buffer | undefined;
  #odd = false;
  #outstanding = 0;
  #batches: Batch[] = [];
  #flushing = false;
  #ending = false;

  constructor(options: BarePublishing, socket: Socket) {
    this.#o = options;
    this.#socket = socket;
    own(socket, this);
    socket.allowHalfOpen = true;
    socket.on('end', () => this.end());
  }

  /** Requests not answered yet. */
  get outstanding(): number {
    return this.#outstanding;
  }

  received(chunk: Buffer): void {
    this.active = true;
    if (this.#ending) return;
    const bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = undefined;
    this.settled = true;
    if (this.#odd) {
      this.#keep(bytes);
      return;
    }
    const at = this.#readAll(bytes);
    if (at < bytes.length) this.#keep(bytes.subarray(at));
    if (this.#odd) this.#leaveWhenAnswered();
    else if (this.#outstanding >= outstandingMax) this.#socket.pause();
  }

  /** Publishes every whole request; returns where the first that is not begins. Hot. */
  #readAll(bytes: Buffer): number {
    const { heads, limits } = this.#o;
    let messages: Message[] = [];
    let at = 0;
    while (at < bytes.length) {
      const result = heads.read(bytes, at);
      if (result === 'more') break;
      if (result === 'other') {
        this.#odd = true;
        break;
      }
      const end = result.end + result.head.length;
      if (end > bytes.length) break;
      try {
        messages.push(checkMessage(result.head.topic, bytes.subarray(result.end, end), noFields, limits));
      } catch (error) {
        this.#publish(messages);
        messages = [];
        this.#outstanding++;
        this.#batches.push({ requests: 1, answers: this.#refusal(error) });
        this.#flushSoon();
      }
      at = end;
    }
    this.#publish(messages);
    return at;
  }

  #publish(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    const batch: Batch = { requests: messages.length, answers: undefined };
    this.#batches.push(batch);
    this.#outstanding += messages.length;
    void this.#answer(batch, messages);
  }

  // the publisher stops at the first failure, but these are requests of their own: what follows it is published anew
  async #answer(batch: Batch, messages: readonly Message[]): Promise<void> {
    let answers = '';
    let done = 0;
    while (done < messages.length) {
      try {
        const results = await this.#o.hub.publisher.publish(done === 0 ? messages : messages.slice(done));
        for (const result of results) {
          done++;
          try {
            answers += this.#whole(this.#o.results.status(result), this.#o.results.text(result));
          } catch (error) {
            answers += this.#problem(toTailraceError(error));
          }
        }
      } catch (error) {
        while (done < messages.length) {
          done++;
          answers += this.#refusal(error);
        }
      }
    }
    batch.answers = answers;
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    // after the microtasks of a commit, in which all its appends are settled
    process.nextTick(flush, this);
  }

  flush(): void {
    this.#flushing = false;
    let text = '';
    while (this.#batches[0]?.answers !== undefined) {
      const { requests, answers } = this.#batches.shift()!;
      this.#outstanding -= requests;
      text += answers;
    }
    const socket = this.#socket;
    if (text === '' || socket.destroyed) return;
    this.active = true;
    socket.write(text, 'latin1');
    if (socket.writableLength > 0) {
      // a client that does not take its answers is not read either
      socket.pause();
      socket.write('', () => this.#readOn());
    } else this.#readOn();
  }

  #readOn(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    if (this.#ending && this.#outstanding === 0) socket.end();
    else if (this.#odd) this.#leaveWhenAnswered();
    else if (this.#outstanding < outstandingMax) socket.resume();
  }

  #leaveWhenAnswered(): void {
    if (this.#outstanding > 0) {
      this.#socket.pause();
      return;
    }
    const rest = this.#rest ?? Buffer.alloc(0);
    this.settled = true;
    this.#o.onGone(this);
    this.#socket.removeAllListeners('end');
    this.#o.handOver(this.#socket, rest);
  }

  #keep(rest: Buffer): void {
    this.#rest = rest;
    this.settled = false;
    this.#o.deadlines.add(this);
  }

  /** A request did not arrive whole in time. */
  expire(): void {
    this.#odd = true;
    if (!this.#socket.destroyed) this.#leaveWhenAnswered();
  }

  /** Ends once what was asked is answered. */
  end(): void {
    this.#ending = true;
    if (this.#outstanding === 0 && !this.#socket.destroyed) this.#socket.end();
  }

  gone(): void {
    this.settled = true;
    this.#o.onGone(this);
  }

  #refusal(error: unknown): string {
    return this.#problem(this.#o.results.refused(error, this.#o.onFault));
  }

  #problem(error: TailraceError): string {
    const problem = error.toProblem();
    // ASCII, so that its length in bytes is its length
    const body = JSON.stringify(problem).replace(
      /[\u0080-\uffff]/g,
      c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    const later = problem.retryAfter === undefined ? '' : `Retry-After: ${Math.ceil(problem.retryAfter / 1000)}\r\n`;
    return this.#whole(problem.status, body, `${later}Cache-Control: no-store\r\n`, 'application/problem+json');
  }

  #whole(status: number, body: string, more = '', type = 'application/json'): string {
    return `HTTP/1.1 ${status} ${status === 200 ? 'OK' : STATUS_CODES[status]}\r\nContent-Type: ${type}\r\n${dateLine(this.#o.clock)}${more}Content-Length: ${body.length}\r\n\r\n${body}`;
  }
}

function flush(publisher: BarePublisher): void {
  publisher.flush();
}

let dateAt = 0;
let date = '';

/** The `Date` header, made once a second. */
function dateLine(clock: Clock): string {
  const now = clock.now();
  if (now - dateAt >= 1000 || now < dateAt) {
    dateAt = now - (now % 1000);
    date = `Date: ${new Date(now).toUTCString()}\r\n`;
  }
  return date;
}
