import type { Problem, ServerFrame } from '@tailrace/protocol';
import type { WebSocketLike } from '../environment.ts';
import { errorOf, lost } from '../errors.ts';
import type { Dial, Link, Transport, WireSubscription } from './transport.ts';

/** protocol.md §7. */
export const webSocket: Transport = {
  name: 'websocket',
  canHold: false,
  isOffered: ({ WebSocket }) => WebSocket !== undefined,
  open: dial => new WebSocketLink(dial),
};

class WebSocketLink implements Link {
  readonly #dial: Dial;
  readonly #socket: WebSocketLike;
  #isOpen = false;
  #ref = 0;
  /** Ref of the publish under way. */
  #publishing: number | undefined;
  /** What the server said of the connection before it closed it. */
  #problem: Problem | undefined;

  constructor(dial: Dial) {
    this.#dial = dial;
    const { endpoint, environment } = dial;
    const socket = new environment.WebSocket!(`${endpoint.replace(/^http/, 'ws')}/v1/ws`, 'tailrace.v1.json');
    this.#socket = socket;
    socket.onopen = () => this.#greet();
    socket.onmessage = ({ data }) => this.#take(String(data));
    socket.onclose = ({ code, reason }) => this.#end(code, reason);
    // what is wrong is told by the close that follows
    socket.onerror = () => {};
  }

  add(subscription: WireSubscription): boolean {
    if (this.#isOpen) this.#send({ type: 'subscribe', ref: ++this.#ref, subscriptions: [subscription] });
    return this.#isOpen;
  }

  remove(sub: string): void {
    if (this.#isOpen) this.#send({ type: 'unsubscribe', ref: ++this.#ref, subs: [sub] });
  }

  hold(): void {}

  publish(messages: readonly unknown[]): void {
    this.#publishing = ++this.#ref;
    this.#send({ type: 'publish', ref: this.#ref, messages });
  }

  ping(): boolean {
    this.#send({ type: 'ping' });
    return true;
  }

  close(): void {
    const socket = this.#socket;
    socket.onopen = socket.onmessage = socket.onclose = null;
    this.#isOpen = false;
    socket.close();
  }

  #greet(): void {
    this.#isOpen = true;
    const { token, connect, wanted } = this.#dial;
    const subscribe = wanted();
    this.#send({
      type: 'connect',
      ...connect,
      ...(token === undefined ? {} : { token }),
      ...(subscribe.length === 0 ? {} : { subscribe }),
    });
  }

  #send(frame: Readonly<Record<string, unknown>>): void {
    this.#socket.send(JSON.stringify(frame));
  }

  #take(text: string): void {
    const { listener } = this.#dial;
    const frame = JSON.parse(text) as ServerFrame;
    if (frame.type === 'welcome') listener.onWelcome(frame);
    else if (frame.type === 'published' && frame.ref === this.#publishing) listener.onPublished(frame);
    else if (frame.type === 'error' && frame.ref !== undefined && frame.ref === this.#publishing)
      listener.onPublished({ problem: frame });
    else if (frame.type === 'error' && frame.ref === undefined && frame.sub === undefined && frame.at === undefined)
      this.#problem = frame;
    else listener.onFrame(frame);
  }

  #end(code: number, reason: string): void {
    this.close();
    const { listener } = this.#dial;
    const problem = this.#problem;
    if (problem === undefined) {
      listener.onLost({ error: lost(`the WebSocket was closed (${code}${reason && `, ${reason}`})`) });
      return;
    }
    listener.onLost({ error: errorOf(problem), retryAfter: problem.retryAfter, isFinal: problem.retry === 'never' });
  }
}
