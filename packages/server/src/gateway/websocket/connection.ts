import type { Socket } from 'node:net';
import {
  type ClientFrame,
  type ErrorCode,
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
  spooled,
} from '../../hub/index.ts';
import { webSocketJson } from '../frame-encoding.ts';
import type { Connection, ConnectionGrades, Gateway } from '../gateway.ts';
import { againOf, intervalOf, neededBy, pingsMax, waitOf } from '../pace.ts';
import { answeredAfter, jitterOf, msOf, type RoundTrip, unmeasured, usualAfter } from '../round-trip.ts';
import { SocketOutlet } from '../socket-outlet.ts';
import { own, type SocketOwner } from '../socket-owner.ts';
import { subscribeAll } from '../subscribe.ts';
import type { Beating } from '../wheel.ts';
import { encodeClose, encodePong } from './frame.ts';
import { type Receiver, type ReceiverLimits, type ReceiverSink, receive } from './receiver.ts';

/** Publish frames of one client that may wait for their commit before its input is left in the kernel. */
const publishesInFlight = 64;
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
  /** ms between two pings, before it is adapted to the round trip. */
  #interval: number;
  /** Pings since the last sign of life. */
  #asked = 0;
  /** When the last ping went (`Gateway.now`), and how many have had no answer. */
  #pingAt = 0;
  #owed = 0;
  /** Since when it is idle if it subscribes to nothing: its last frame, or the end of its last subscription. */
  #idleSince = 0;
  #newest: RoundTrip = unmeasured;
  #usual: RoundTrip = unmeasured;
  #publishing = 0;
  /** A subscribe is looking up where to begin; what follows it waits. */
  #subscribing = false;
  /** Messages of a chunk already received that wait their turn: no more than that chunk held. */
  #waiting: string[] | null = null;
  /** Data of the newest ping that is owed its pong. */
  #ping: Buffer | null = null;

  constructor(gateway: Gateway, socket: Socket, limits: ReceiverLimits) {
    this.#gateway = gateway;
    this.#socket = socket;
    this.limits = limits;
    this.session = gateway.hub.openSession(this.transport, new SocketOutlet(socket), webSocketJson, this);
    own(socket, this);
    socket.allowHalfOpen = false;
    this.#interval = gateway.o.heartbeat.websocket;
    gateway.connections.add(this);
    gateway.wheel.add(this, gateway.o.connectTimeout);
  }

  received(chunk: Buffer): void {
    this.#asked = 0;
    try {
      this.#receiver = receive(this.#receiver, chunk, this);
    } catch (error) {
      this.#gateway.o.onFault(error);
      this.#socket.destroy();
    }
    if (this.#ping !== null) this.#answerPing(this.#ping);
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

  // of all pings in a chunk the newest alone is answered (RFC 6455 §5.5.3), so that a flood of them costs few writes
  onPing(data: Buffer): void {
    this.#ping = data;
  }

  /** One pong at a time: a client that does not take what was written is not read until it has. */
  #answerPing(data: Buffer): void {
    this.#ping = null;
    if (this.#closing) return;
    if (!this.session.lagging) {
      this.session.write(encodePong(data), null);
      return;
    }
    this.#ping = Buffer.from(data); // the chunk it lies in goes
    this.#socket.pause();
  }

  onPong(data: Buffer): void {
    if (this.#owed === 0 || data.length !== 4) return; // nobody asked
    const asked = data.readInt32BE(0);
    if (((this.#pingAt - asked) | 0) < 0) return;
    this.#owed = asked === this.#pingAt ? 0 : this.#owed - 1; // a peer may answer the last of several alone
    const ms = (this.#gateway.now() - asked) | 0;
    this.#newest = answeredAfter(ms, this.#newest);
    this.#usual = usualAfter(this.#usual, this.#newest);
    this.#gateway.o.onRoundTrip(ms, jitterOf(this.#newest));
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

  onEnded(session: Session, subscription: Subscription, code: ErrorCode): void {
    this.#gateway.hub.unsubscribe(subscription);
    session.notice({ type: 'unsubscribed', sub: subscription.sub, code });
    this.#lookWhetherIdle();
  }

  onFinished(): void {
    this.#asked = 0; // its kernel took what was written: a sign of life
    if (this.#ping !== null) this.#answerPing(this.#ping);
    this.#goOn();
  }

  countGrades({ roundTrip, jitter }: ConnectionGrades): void {
    const newest = this.#newest;
    const usual = this.#usual;
    const again = againOf(this.#interval);
    // an answer that is owed takes at least as long as it has been owed
    const silent = this.#asked === 0 ? 0 : ((this.#gateway.now() - this.#pingAt) | 0) + (this.#asked - 1) * again;
    if (newest !== unmeasured || silent > 0)
      roundTrip.add('newest', Math.max(silent, newest === unmeasured ? 0 : msOf(newest)), again);
    if (newest === unmeasured) return;
    roundTrip.add('usual', msOf(usual), again);
    jitter.add('newest', jitterOf(newest), again);
    jitter.add('usual', jitterOf(usual), again);
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
    // of one that lags its unfinished write is watched instead; one whose frames wait is not listened to
    if (this.session.lagging || this.#waiting !== null) return againOf(this.#interval);
    const now = this.#gateway.now();
    if (this.session.subscriptions.length > 0) return this.#ask(now);
    const idleLeft = o.idleTimeout - ((now - this.#idleSince) | 0);
    if (idleLeft > 0) return Math.min(this.#ask(now), idleLeft);
    this.#fail(new TailraceError('idle', `no subscription, and no frame for idle.timeout (${o.idleTimeout} ms)`));
    return 0;
  }

  /**
   * Pings when it is time, and counts the pings without a sign of life; ms until the next look, which may come early and
   * is an interval away at most, so that none follows a sign of life later than that. 0 when the peer is gone.
   */
  #ask(now: number): number {
    const needed = neededBy(this.#newest, this.#usual);
    const interval = intervalOf(this.#interval, needed);
    const wait = waitOf(this.#interval, needed);
    const left = (this.#pingAt + (this.#asked === 0 ? interval : wait) - now) | 0;
    if (left >= this.#gateway.wheel.tickMs) return Math.min(left, interval);
    if (this.#asked === pingsMax) {
      this.#gateway.countCut('silent');
      this.#socket.destroy();
      return 0;
    }
    this.#asked++;
    this.#owed++;
    this.#pingAt = now;
    this.session.write(this.#gateway.heartbeat(now), null);
    return Math.min(wait, interval);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  drain(within: number): void {
    this.#send({ type: 'drain', within });
    this.#closeIfDrained();
  }

  /** What was handed to the log is answered first. */
  #closeIfDrained(): void {
    if (this.#gateway.draining && this.#publishing === 0) this.#close(encodeClose(1001, 'draining'));
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
        if (frame.heartbeat !== undefined) this.#interval = frame.heartbeat;
        this.#greet(frame.ref);
        if (frame.subscribe.length > 0) this.#subscribe(frame.subscribe, frame.ref);
      }
      return;
    }
    this.#greet(undefined);
    this.#idleSince = this.#gateway.now();
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
    const now = this.#gateway.now();
    this.#pingAt = now;
    this.#idleSince = now;
    this.#send(this.#gateway.welcome(this.session.id, ref, this.#interval));
    // from the connect time-out to the rhythm of heartbeats
    this.#lookIn(Math.min(this.#interval, this.#gateway.o.idleTimeout));
  }

  /** A session that has no subscription left may have to be looked at sooner than for its next ping. */
  #lookWhetherIdle(): void {
    if (this.#closing || this.session.subscriptions.length > 0) return;
    this.#idleSince = this.#gateway.now();
    this.#lookIn(0);
  }

  #lookIn(ms: number): void {
    this.#gateway.wheel.remove(this);
    this.#gateway.wheel.add(this, ms);
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
    this.#lookWhetherIdle();
  }

  async #publish(frame: ClientFrame & { readonly type: 'publish' }): Promise<void> {
    const { hub, o } = this.#gateway;
    this.#publishing++;
    let published: readonly Published[] = [];
    try {
      if (frame.messages.length > 0) published = await hub.publisher.publish(frame.messages, frame.deadline);
    } catch (error) {
      if (!isTailraceError(error)) o.onFault(error);
      published = failures(toTailraceError(error), frame.messages.length);
    }
    this.#publishing--;
    const reached =
      published.length === frame.messages.length &&
      !published.some(result => result !== passedOn && result !== spooled && 'error' in result);
    if (frame.failed !== undefined && reached) published = [...published, { error: frame.failed }];
    const { results } = o.results.all(published, frame.total);
    if (this.session.closed) return;
    this.#send({ type: 'published', ...withRef(frame.ref), results });
    if (this.#waiting !== null) this.#goOn();
    this.#closeIfDrained();
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
    this.#lookIn(closeWait);
  }
}

function withRef(ref: Ref | undefined): { ref?: Ref } {
  return ref === undefined ? {} : { ref };
}
