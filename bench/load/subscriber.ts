// One raw socket that asks for a stream and counts what comes.
import { connect, type Socket } from 'node:net';
import { countMarkers, type LatencySamples, placeSentinel, readBuffer, readTarget, readText } from './counting.ts';
import { FrameReader, pong, textFrame } from './frames.ts';
import type { Sequence } from './sequence.ts';

/** How one subscriber asks a target for its stream. */
export interface Subscription {
  transport: 'sse' | 'ws';
  /** The whole request head. */
  request: string;
  /** WebSocket: the text frame to send once the handshake is answered. */
  hello?: string;
  /** Text that must come before the subscription stands; without it the response head is enough. */
  ready?: string;
}

const greetingLimit = 64 * 1024;

export class Subscriber {
  deliveries = 0;
  bytes = 0;
  /** What it got, for replaying the same bytes; kept only when asked for. */
  capture: Buffer[] | undefined;
  /** Which messages it got, not only how many; kept only when asked for, and only for SSE. */
  sequence: Sequence | undefined;
  ready = false;
  /** Number of deliveries at which `onGoal` is called, once. */
  goal: number = Number.POSITIVE_INFINITY;
  onGoal: () => void = () => undefined;
  readonly socket: Socket;
  readonly #subscription: Subscription;
  readonly #samples: LatencySamples | undefined;
  readonly #ended: (why: string) => void;
  #frames: FrameReader | undefined;
  #headDone = false;
  #greeting = '';
  readonly #onReady: () => void;

  constructor(
    port: number,
    subscription: Subscription,
    events: { samples: LatencySamples | undefined; onReady: () => void; onEnd: (why: string) => void },
  ) {
    this.#subscription = subscription;
    this.#samples = events.samples;
    this.#onReady = events.onReady;
    this.#ended = events.onEnd;
    this.socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer: readTarget, callback: length => this.#read(length) },
    });
    this.socket.on('error', error => this.#ended(error.message));
    this.socket.on('close', () => this.#ended('the server closed the connection'));
  }

  ask(): void {
    this.socket.write(this.#subscription.request);
  }

  /** By RST: 15,000 connections in TIME_WAIT would use up the ports. */
  destroy(): void {
    this.socket.removeAllListeners('close');
    this.socket.resetAndDestroy();
  }

  // Hot from here: once a read.
  #read(length: number): boolean {
    this.bytes += length;
    if (this.capture !== undefined) this.capture.push(Buffer.from(readBuffer.subarray(0, length)));
    const from = this.ready ? 0 : this.#begin(length);
    if (from >= length) return true;
    placeSentinel(length);
    if (this.#frames === undefined) {
      this.deliveries += this.sequence?.take(from, length) ?? countMarkers(from, length);
    } else {
      this.deliveries += this.#frames.count(from, length);
      if (this.#frames.closed) this.#ended('the server sent a close frame');
      for (; this.#frames.pings > 0; this.#frames.pings--) this.socket.write(pong);
    }
    if (this.#samples?.open) this.#samples.take(from, length);
    if (this.deliveries >= this.goal) {
      this.goal = Number.POSITIVE_INFINITY;
      this.onGoal();
    }
    return true;
  }

  /** Response head, then greeting. Answers where the stream begins in this chunk. */
  #begin(length: number): number {
    let from = 0;
    this.#greeting += readText(length);
    if (!this.#headDone) {
      const end = this.#greeting.indexOf('\r\n\r\n');
      if (end === -1) {
        if (this.#greeting.length > greetingLimit) this.#ended('no end of the response head');
        return length;
      }
      const status = this.#greeting.slice(9, 12);
      if (status !== (this.#subscription.transport === 'ws' ? '101' : '200')) {
        this.#ended(`refused: ${this.#greeting.slice(0, 300)}`);
        return length;
      }
      from = length - (this.#greeting.length - end - 4);
      this.#headDone = true;
      this.#greeting = this.#greeting.slice(end + 4);
      if (this.#subscription.transport === 'ws') this.#frames = new FrameReader();
      if (this.#subscription.hello !== undefined) this.socket.write(textFrame(this.#subscription.hello));
    }
    if (this.#subscription.ready === undefined || this.#greeting.includes(this.#subscription.ready)) {
      this.ready = true;
      this.#greeting = '';
      this.#onReady();
    } else if (this.#greeting.length > greetingLimit) {
      this.#ended(`no ${this.#subscription.ready} came`);
    }
    return from;
  }
}
