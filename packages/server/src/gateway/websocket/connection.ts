import type { Socket } from 'node:net';
import {
  type ClientFrame,
  FrameError,
  isTailraceError,
  parseClientFrame,
  type Ref,
  type RefusedItem,
  type ServerFrame,
  type SubscriptionRequest,
  TailraceError,
  toTailraceError,
} from '@tailrace/protocol';
import {
  type CutReason,
  failures,
  type Published,
  passedOn,
  type Session,
  type SessionOwner,
  type Subscription,
} from '../../hub/index.ts';
import { webSocketJson } from '../frame-encoding.ts';
import type { Connection, Gateway } from '../gateway.ts';
import { SocketOutlet } from '../socket-outlet.ts';
import { own, type SocketOwner } from '../socket-owner.ts';
import { subscribeAll } from '../subscribe.ts';
import type { Beating } from '../wheel.ts';
import { encodeClose, encodePong } from './frame.ts';
import { type Receiver, type ReceiverLimits, type ReceiverSink, receive } from './receiver.ts';

/** Publish frames of one client that may wait for their commit before its input is left in the kernel. */
const publishesInFlight = 64;
/** A ping unanswered for so long is asked again, ms; three in a row and the peer is gone (B2). */
const missedAfter = 10_000;
const missedMax = 3;
/** How long a peer has to answer our close frame, ms. */
const closeWait = 5000;

/** One WebSocket after its handshake (§7): frames in, frames out. */
export class WebSocketConnection implements SocketOwner, ReceiverSink, SessionOwner, Connection, Beating {
  readonly transport = 'websocket';
  readonly limits: ReceiverLimits;
  readonly session: Session;
  wheelSlot = -1;
  wheelIndex = 0;
  readonly #gateway: Gateway;
  readonly #socket: Socket;
  #receiver: Receiver | null = null;
  #welcomed = false;
  #closing = false;
  /** Something was received since the last ping. */
  #heard = true;
  #awaiting = false;
  #missed = 0;
  /** Whole monotonic ms, which cost no object of their own: when the last ping went, and the last frame came. */
  #pingAt = 0;
  #frameAt = 0;
  /** The newest round trip, ms; −1 before the first. */
  #roundTrip = -1;
  #publishing = 0;
  /** A subscribe is looking up where to begin; what follows it waits. */
  #subscribing = false;
  /** Messages of a chunk already received that wait their turn: no more than that chunk held. */
  #waiting: string[] | null = null;

  constructor(gateway: Gateway, socket: Socket, limits: ReceiverLimits) {
    this.#gateway = gateway;
    this.#socket = socket;
    this.limits = limits;
    this.session = gateway.hub.openSession(this.transport, new SocketOutlet(socket), webSocketJson, this);
    own(socket, this);
    socket.allowHalfOpen = false;
    this.#frameAt = this.#now();
    gateway.connections.add(this);
    gateway.wheel.add(this, gateway.o.connectTimeout);
  }

  received(chunk: Buffer): void {
    this.#heard = true;
    try {
      this.#receiver = receive(this.#receiver, chunk, this);
    } catch (error) {
      this.#gateway.o.onFault(error);
      this.#socket.destroy();
    }
  }

  gone(): void {
    this.#gateway.hub.closeSession(this.session);
    this.#gateway.connections.delete(this);
    this.#gateway.wheel.remove(this);
    this.#waiting = null;
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#closing) return;
    if (isBinary) {
      this.#fail(new TailraceError('unsupported', 'tailrace.v1.json frames are text messages; this one is binary'));
      return;
    }
    const text = data.toString('utf8');
    if (this.#blocked || this.#waiting !== null) {
      this.#waiting ??= [];
      this.#waiting.push(text);
      this.#socket.pause();
    } else this.#handle(text);
  }

  onPing(data: Buffer): void {
    // a client that pings and never reads must not fill memory with pongs
    if (!this.session.lagging && !this.#closing) this.session.write(encodePong(data), null);
  }

  onPong(): void {
    if (this.#pingAt === 0) return; // nobody asked
    const ms = this.#now() - this.#pingAt;
    this.#pingAt = 0;
    this.#gateway.o.onRoundTrip(ms, this.#roundTrip === -1 ? 0 : Math.abs(ms - this.#roundTrip));
    this.#roundTrip = ms;
  }

  onClose(code: number | undefined): void {
    this.#close(encodeClose(code === undefined || code === 1001 ? 1000 : code));
  }

  onError(code: number, reason: string): void {
    this.#gateway.countCut('protocol');
    this.#close(encodeClose(code, reason));
  }

  onCut(_session: Session, reason: CutReason): void {
    this.#gateway.countCut(reason);
    this.#socket.destroy();
  }

  onEnded(session: Session, subscription: Subscription, code: 'topic_ended' | 'internal'): void {
    this.#gateway.hub.unsubscribe(subscription);
    session.notice({ type: 'unsubscribed', sub: subscription.sub, code });
  }

  onFinished(): void {
    this.#goOn();
  }

  beat(): number {
    const { o } = this.#gateway;
    if (this.#closing) {
      this.#socket.destroy();
      return 0;
    }
    if (!this.#welcomed) {
      this.#fail(new TailraceError('connect_timeout', `no frame within connect.timeout (${o.connectTimeout} ms)`));
      return 0; // closing has put it on the wheel again
    }
    if (this.session.lagging) return o.heartbeat; // its unfinished write is watched instead
    const idle = this.session.subscriptions.length === 0;
    if (idle && this.#now() - this.#frameAt >= o.idleTimeout) {
      this.#fail(new TailraceError('idle', `no subscription, and no frame for idle.timeout (${o.idleTimeout} ms)`));
      return 0;
    }
    return idle ? Math.min(this.#beatAlive(), o.idleTimeout) : this.#beatAlive();
  }

  /** Pings, and counts the answers that did not come; ms until the next look, 0 when the peer is gone. */
  #beatAlive(): number {
    const { o } = this.#gateway;
    if (this.#heard) {
      this.#missed = 0;
      if (this.#awaiting) {
        this.#awaiting = false;
        return Math.max(1, o.heartbeat - missedAfter);
      }
    } else if (this.#awaiting && ++this.#missed >= missedMax) {
      this.#gateway.countCut('silent');
      this.#socket.destroy();
      return 0;
    }
    this.#heard = false;
    this.#awaiting = true;
    this.#pingAt = this.#now();
    this.session.write(this.#gateway.heartbeat(), null);
    return Math.min(missedAfter, o.heartbeat);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  drain(within: number): void {
    this.#send({ type: 'drain', within });
    this.#close(encodeClose(1001, 'draining'));
  }

  #now(): number {
    return Math.round(this.#gateway.clock.monotonic());
  }

  get #blocked(): boolean {
    return this.#subscribing || this.session.lagging || this.#publishing >= publishesInFlight;
  }

  /** Handles what waited, as far as it may; then lets the client's bytes in again. */
  #goOn(): void {
    while (this.#waiting !== null && !this.#blocked && !this.#closing) {
      const text = this.#waiting.shift();
      if (text === undefined) this.#waiting = null;
      else this.#handle(text);
    }
    if (this.#waiting === null && !this.#socket.destroyed) this.#socket.resume();
  }

  #handle(text: string): void {
    let frame: ClientFrame;
    try {
      frame = parseClientFrame(text, this.#gateway.o.limits);
    } catch (thrown) {
      if (!(thrown instanceof FrameError)) throw thrown;
      this.#greet(undefined);
      if (thrown.ref === undefined) this.#fail(thrown.error);
      else this.#sendError(thrown.ref, thrown.error);
      return;
    }
    if (frame.type === 'connect') {
      if (this.#welcomed)
        this.#sendError(frame.ref, new TailraceError('bad_request', '"connect" comes once, as the first frame'));
      else {
        this.#greet(frame.ref);
        if (frame.subscribe.length > 0) this.#subscribe(frame.subscribe, frame.ref);
      }
      return;
    }
    this.#greet(undefined);
    this.#frameAt = this.#now();
    switch (frame.type) {
      case 'subscribe':
        this.#subscribe(frame.subscriptions, frame.ref);
        break;
      case 'unsubscribe':
        this.#unsubscribe(frame.subs, frame.ref);
        break;
      case 'publish':
        void this.#publish(frame);
        break;
      case 'ping':
        this.#send({ type: 'pong', ...withRef(frame.ref), time: this.#gateway.clock.now() });
    }
  }

  #greet(ref: Ref | undefined): void {
    if (this.#welcomed) return;
    this.#welcomed = true;
    this.#send(this.#gateway.welcome(this.session.id, ref));
    // from the connect time-out to the rhythm of heartbeats
    this.#gateway.wheel.remove(this);
    this.#gateway.wheel.add(this, this.#gateway.o.heartbeat);
  }

  #subscribe(items: readonly (SubscriptionRequest | RefusedItem)[], ref: Ref | undefined): void {
    const running = subscribeAll(this.#gateway, this.session, items, ref);
    if (running === undefined) return;
    this.#subscribing = true;
    void running.finally(() => {
      this.#subscribing = false;
      if (!this.session.closed) this.#goOn();
    });
  }

  #unsubscribe(subs: readonly string[], ref: Ref | undefined): void {
    for (const sub of subs) {
      const subscription = this.session.find(sub);
      if (subscription === undefined)
        this.#sendError(
          ref,
          new TailraceError(
            'not_subscribed',
            `this session has no subscription labelled ${JSON.stringify(sub.slice(0, 64))}`,
            { at: { sub: sub.slice(0, 64) } },
          ),
        );
      else {
        this.#gateway.hub.unsubscribe(subscription);
        this.#send({ type: 'unsubscribed', ...withRef(ref), sub });
      }
    }
  }

  async #publish(frame: ClientFrame & { readonly type: 'publish' }): Promise<void> {
    const { hub, o } = this.#gateway;
    this.#publishing++;
    let published: readonly Published[] = [];
    try {
      if (frame.messages.length > 0) published = await hub.publisher.publish(frame.messages);
    } catch (error) {
      if (!isTailraceError(error)) o.onFault(error);
      published = failures(toTailraceError(error), frame.messages.length);
    }
    this.#publishing--;
    const reached =
      published.length === frame.messages.length && !published.some(result => result !== passedOn && 'error' in result);
    if (frame.failed !== undefined && reached) published = [...published, { error: frame.failed }];
    const { results } = o.results.all(published, frame.total);
    if (this.session.closed) return;
    this.#send({ type: 'published', ...withRef(frame.ref), results });
    if (this.#waiting !== null) this.#goOn();
  }

  #send(frame: ServerFrame): void {
    if (!this.#closing) this.session.notice(frame);
  }

  #sendError(ref: Ref | undefined, error: TailraceError): void {
    this.#send({ type: 'error', ...withRef(ref), ...error.toProblem() });
  }

  /** The connection itself is at fault: `error` without ref, then close with 4000 + status. */
  #fail(error: TailraceError): void {
    this.#gateway.countRefused(error.code);
    this.#sendError(undefined, error);
    this.#close(encodeClose(4000 + error.status, error.code));
  }

  #close(frame: Buffer): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#gateway.hub.closeSession(this.session);
    this.session.outlet.end(frame);
    this.#socket.resume();
    this.#gateway.wheel.remove(this);
    this.#gateway.wheel.add(this, closeWait);
  }
}

function withRef(ref: Ref | undefined): { ref?: Ref } {
  return ref === undefined ? {} : { ref };
}
