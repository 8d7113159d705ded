// The sending side: POST requests on raw keep-alive connections, built once and only stamped anew.
import { connect, type Socket } from 'node:net';
import { Histogram } from '../histogram.ts';
import { sleep, until } from '../wait.ts';
import { expectPayloads, readTarget, readText } from './counting.ts';
import { makePayload, now, stampStart, usualPayload, writeStamp } from './payload.ts';
import { type Response, ResponseScanner } from './responses.ts';

export interface PublishTarget {
  port: number;
  /** Where one message is published by POST. */
  path: string;
}

export interface PublishLoad {
  connections: number;
  /** Requests in flight on each connection. */
  depth: number;
  /** Bytes of each payload; else 130. */
  payloadLength?: number | undefined;
}

const answersWithin = 30_000;
/** How long a refused publisher waits when the server names no time, and at most. */
const retryDelay = { least: 5, most: 1_000 } as const;

/** One connection with up to `depth` requests in flight (pipelined when more than one). */
class PublishConnection {
  outstanding = 0;
  readonly #socket: Socket;
  readonly #depth: number;
  readonly #requestLength: number;
  readonly #stampAt: number;
  // `depth` requests in a ring. Answers come in order, so a slot whose answer has come is free, and its bytes flushed.
  //
  //   slots  | answered | in flight ───────► | free |
  //                      ▲ #oldest            ▲ #oldest + outstanding
  readonly #ring: Buffer;
  readonly #sentAt: Float64Array;
  readonly #stamps: Float64Array;
  #oldest = 0;
  readonly #responses = new ResponseScanner();
  readonly #publisher: Publisher;

  constructor(target: PublishTarget, depth: number, payload: Buffer, publisher: Publisher) {
    const head = Buffer.from(
      `POST ${target.path} HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${payload.length}\r\n\r\n`,
    );
    this.#depth = depth;
    this.#requestLength = head.length + payload.length;
    this.#stampAt = head.length + stampStart;
    this.#ring = Buffer.alloc(depth * this.#requestLength, Buffer.concat([head, payload]));
    this.#sentAt = new Float64Array(depth);
    this.#stamps = new Float64Array(depth);
    this.#publisher = publisher;
    this.#socket = connect({
      port: target.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: readTarget, callback: length => this.#read(length) },
    });
    this.#socket.on('error', error => publisher.fail(error.message));
    this.#socket.on('close', () => publisher.fail('the server closed a publishing connection'));
  }

  get connected(): boolean {
    return !this.#socket.connecting;
  }

  /** Sends `count` messages more, in one or (where the ring wraps) two writes. */
  send(count: number): void {
    const time = now();
    const first = (this.#oldest + this.outstanding) % this.#depth;
    for (let index = 0; index < count; index++) {
      const slot = (first + index) % this.#depth;
      const stamp = this.#publisher.stamp(time);
      this.#sentAt[slot] = time;
      this.#stamps[slot] = stamp;
      writeStamp(this.#ring, slot * this.#requestLength + this.#stampAt, stamp);
    }
    this.outstanding += count;
    const straight = Math.min(count, this.#depth - first);
    this.#write(first, straight);
    if (straight < count) this.#write(0, count - straight);
  }

  close(): void {
    this.#socket.removeAllListeners('close');
    this.#socket.resetAndDestroy();
  }

  #write(slot: number, count: number): void {
    const at = slot * this.#requestLength;
    this.#socket.write(this.#ring.subarray(at, at + count * this.#requestLength));
  }

  #read(length: number): boolean {
    const received = now();
    let again = 0;
    try {
      this.#responses.feed(readText(length), response => {
        const sent = this.#sentAt[this.#oldest]!;
        const stamp = this.#stamps[this.#oldest]!;
        this.#oldest = (this.#oldest + 1) % this.#depth;
        this.outstanding--;
        if (this.#publisher.answered(this, response, received - sent, stamp)) again++;
      });
    } catch (error) {
      this.#publisher.fail(error instanceof Error ? error.message : String(error));
    }
    if (again > 0) this.send(again);
    return true;
  }
}

export class Publisher {
  /** Answered 2xx: each is one delivery to every subscriber. */
  acked = 0;
  /** Answered otherwise, such as 503 by the brake. */
  refused = 0;
  ackTimes: Histogram = new Histogram();
  /** Ack times are recorded only while a window is open. */
  windowOpen = false;
  failure: string | undefined;
  /** Stamps of the acknowledged messages; kept only when asked for. */
  ackedStamps: number[] | undefined;
  /** Deliveries so far to the subscriber that must not fall behind: what it lacks is in flight still. Else an ack ends it. */
  delivered: (() => number) | undefined;
  #lastStamp = 0;
  readonly #connections: PublishConnection[] = [];
  #mode: 'stopped' | 'closed loop' | 'paced' = 'stopped';
  #idle: PublishConnection[] = [];
  #goOn: NodeJS.Timeout | undefined;

  static async open(
    target: PublishTarget,
    { connections, depth, payloadLength = usualPayload }: PublishLoad,
  ): Promise<Publisher> {
    const publisher = new Publisher();
    const payload = makePayload(payloadLength);
    expectPayloads(payloadLength);
    for (let index = 0; index < connections; index++) {
      publisher.#connections.push(new PublishConnection(target, depth, payload, publisher));
    }
    await until(() => publisher.#connections.every(({ connected }) => connected), answersWithin);
    publisher.check();
    publisher.#idle = [...publisher.#connections];
    return publisher;
  }

  /** Publishes one message after another until there are `count`, `depth` at a time on the first connection. */
  async publish(count: number, depth = 1): Promise<void> {
    const connection = this.#connections[0]!;
    for (let left = count; left > 0; left -= depth) {
      connection.send(Math.min(left, depth));
      await this.#settled();
    }
  }

  /** As many in flight as the connections hold, each answer followed by the next request at once. */
  start(depth: number): void {
    this.#mode = 'closed loop';
    this.#idle = [];
    for (const connection of this.#connections) connection.send(depth);
    if (this.delivered !== undefined) this.#goOn = setInterval(() => this.#sendNext(), 1);
  }

  /**
   * `rate` messages a second whatever the answers do, as long as a connection is free. Connections take turns: a server
   * closes one that never asks.
   */
  async runPaced(rate: number, milliseconds: number): Promise<void> {
    this.#mode = 'paced';
    const began = performance.now();
    for (let sent = 0; sent < (rate * milliseconds) / 1000; sent++) {
      const due = began + (sent * 1000) / rate;
      if (due > performance.now()) await sleep(due - performance.now());
      const connection = this.#idle.shift();
      if (connection === undefined) throw new Error(`overrun: all connections wait for answers at ${rate} messages/s`);
      connection.send(1);
    }
  }

  /** Sends nothing more and waits for what is in flight. */
  async stop(): Promise<void> {
    this.#mode = 'stopped';
    clearInterval(this.#goOn);
    await this.#settled();
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  fail(why: string): void {
    this.failure ??= why;
  }

  check(): void {
    if (this.failure !== undefined) throw new Error(`publisher: ${this.failure}`);
  }

  /** The clock where it moved on, else one more: no two messages have the same stamp. Hot. */
  stamp(time: number): number {
    this.#lastStamp = Math.max(time, this.#lastStamp + 1);
    return this.#lastStamp;
  }

  /** One answer; true when its connection shall send the next message now. Hot. */
  answered(
    connection: PublishConnection,
    { status, retryAfter }: Response,
    microseconds: number,
    stamp: number,
  ): boolean {
    if (this.#mode === 'paced') this.#idle.push(connection);
    if (status >= 200 && status < 300) {
      this.acked++;
      this.ackedStamps?.push(stamp);
      if (this.windowOpen) this.ackTimes.record(microseconds);
      if (this.#mode !== 'closed loop') return false;
      if (this.#mayGoOn()) return true;
      this.#idle.push(connection);
      return false;
    }
    this.refused++;
    if (this.#mode !== 'closed loop') return false;
    const delay = Math.min(Math.max(retryAfter, retryDelay.least), retryDelay.most);
    setTimeout(() => this.#mode === 'closed loop' && connection.send(1), delay);
    return false;
  }

  /** Whether one message more keeps to what may be in flight. */
  #mayGoOn(): boolean {
    if (this.delivered === undefined) return true;
    const unanswered = this.#connections.reduce((sum, { outstanding }) => sum + outstanding, 0);
    return unanswered + this.acked - this.delivered() < this.#connections.length;
  }

  #sendNext(): void {
    while (this.#idle.length > 0 && this.#mayGoOn()) this.#idle.shift()?.send(1);
  }

  async #settled(): Promise<void> {
    const answered = await until(
      () => this.failure !== undefined || this.#connections.every(({ outstanding }) => outstanding === 0),
      answersWithin,
    );
    this.check();
    if (!answered) throw new Error(`publisher: answers are missing after ${answersWithin} ms`);
  }
}
