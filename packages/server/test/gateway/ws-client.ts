import { expect } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { until } from './harness.ts';

export type Frame = { readonly type: string } & Record<string, unknown>;

/** A WebSocket client (package `ws`, so that no code of ours reads what we wrote). */
export class WsClient {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  pings = 0;
  pongs = 0;
  closeCode: number | undefined;
  closeReason = '';
  status: number | undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', data => this.frames.push(JSON.parse(String(data)) as Frame));
    socket.on('ping', () => this.pings++);
    socket.on('pong', () => this.pongs++);
    socket.on('close', (code, reason) => {
      this.closeCode = code;
      this.closeReason = reason.toString();
    });
    socket.on('unexpected-response', (request, response) => {
      this.status = response.statusCode;
      request.destroy();
    });
    socket.on('error', () => {});
  }

  /** Opens a connection; a refused one has `status` instead. */
  static async open(port: number, options: ClientOptions = {}): Promise<WsClient> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/v1/ws`, ['tailrace.v1.json'], {
      perMessageDeflate: false,
      ...options,
    });
    const client = new WsClient(socket);
    await until(() => socket.readyState !== WebSocket.CONNECTING || client.status !== undefined, 'the handshake');
    return client;
  }

  send(frame: unknown): this {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
    return this;
  }

  /** Subscribes with one filter or several; the answer. */
  subscribe(filter: string | string[], more: Record<string, unknown> = {}): Promise<Frame> {
    return this.ask({ type: 'subscribe', ref: `s${this.frames.length}`, subscriptions: [{ filter, ...more }] });
  }

  of(type: string): Frame[] {
    return this.frames.filter(frame => frame.type === type);
  }

  /** The first frame for which `matches` holds, waiting for it. */
  async find(matches: (frame: Frame) => boolean, what = 'a frame', ms?: number): Promise<Frame> {
    await until(
      () => this.frames.some(matches),
      () => `${what} in ${JSON.stringify(this.frames).slice(-2000)}`,
      ms,
    );
    return this.frames.find(matches)!;
  }

  first(type: string, ms?: number): Promise<Frame> {
    return this.find(frame => frame.type === type, type, ms);
  }

  answer(ref: string | number): Promise<Frame> {
    return this.find(frame => frame.ref === ref, `the answer to ${ref}`);
  }

  /** Sends a frame and returns its first answer. */
  ask(frame: Record<string, unknown> & { ref: string | number }): Promise<Frame> {
    return this.send(frame).answer(frame.ref);
  }

  offsets(sub?: string): number[] {
    return this.of('messages')
      .filter(frame => sub === undefined || frame.sub === sub)
      .flatMap(frame => (frame.messages as { offset?: number }[]).flatMap(({ offset }) => offset ?? []));
  }

  async received(count: number, sub?: string, ms?: number): Promise<number[]> {
    await until(
      () => this.offsets(sub).length >= count,
      () => `${count} messages, there are ${this.offsets(sub).length}`,
      ms,
    );
    return this.offsets(sub);
  }

  async closed(ms?: number): Promise<number> {
    await until(() => this.closeCode !== undefined, 'the close', ms);
    return this.closeCode!;
  }

  close(): void {
    this.socket.terminate();
  }
}

/** Every frame that moves a subscription's cursor continues where the one before ended. */
export function expectChain(frames: readonly Frame[], sub: string): void {
  let last: unknown;
  for (const frame of frames) {
    if (frame.sub !== sub || frame.cursor === undefined) continue;
    if (frame.type === 'live') expect(frame.cursor).toBe(last);
    else if (frame.type === 'subscribed') last = frame.cursor;
    else {
      expect(frame.after, JSON.stringify(frame)).toBe(last);
      last = frame.cursor;
    }
  }
}
