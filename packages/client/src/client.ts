import type { ServerFrame } from '@tailrace/protocol';
import { Connection, type ConnectionHost, type ConnectionOptions } from './connection.ts';
import { Endpoints } from './endpoints.ts';
import { type Environment, surroundings } from './environment.ts';
import { TailraceError } from './errors.ts';
import type { Store } from './keeper.ts';
import { KeptOutbox } from './kept-outbox.ts';
import { Ladder } from './ladder.ts';
import type { ConnectionState } from './machine.ts';
import { type PublishOptions, wireMessage } from './message.ts';
import { Outbox, type Receipt } from './outbox.ts';
import { Saved } from './saved.ts';
import { localStore } from './stores/local-store.ts';
import { OpenSubscription, type SubscribeOptions, type Subscription, type SubscriptionHost } from './subscription.ts';
import type { Shared } from './tabs/tabs.ts';
import type { Published, Transport, TransportName, WireSubscription } from './transports/transport.ts';

export interface ClientOptions {
  /** From the best on. `connect` takes all three: WebSocket, SSE, long-poll. */
  readonly transports: readonly Transport[];
  /** Asked before each connection. */
  readonly token?: () => string | Promise<string>;
  /** Who this is, so that what is kept for one user is not found by another. */
  readonly user?: string;
  /** Where cursors (`from: 'saved'`) and the transport that worked are kept. By default `localStorage` where there is one. */
  readonly store?: Store;
  /** Messages that may wait for the server's answer. 1000. */
  readonly outbox?: number;
  /** Keep them in `store`, so that the next run sends what this one could not. False. */
  readonly keepOutbox?: boolean;
  /** A message that an earlier run has left was refused. By default the console warns. */
  readonly onLeftRefused?: (message: Readonly<Record<string, unknown>>, error: TailraceError) => void;
  /** `tabs` of `@tailrace/client/tabs`: all tabs of this origin share one connection. Left out, each has its own. */
  readonly share?: (options: ConnectionOptions, scope: string) => Shared;
  readonly onState?: (state: ConnectionState, reason: TailraceError | undefined) => void;
  readonly environment?: Environment;
}

const version = '0.1.0';
/** Longest label that the server takes. */
const labelMost = 64;

/** A client of one server, or of several of which any will do: its subscriptions and publishes share one connection, which is there while one is needed. */
export class Client implements ConnectionHost, SubscriptionHost {
  readonly #environment: Environment;
  readonly #connection: Connection;
  readonly #outbox: Outbox;
  readonly #store: Store;
  readonly #scope: string;
  readonly #shared: Shared | undefined;
  readonly #onState: ClientOptions['onState'];
  readonly #subscriptions = new Map<string, OpenSubscription>();
  /** Timers by which something is asked for, or sent, again. */
  readonly #later = new Map<object | 'outbox', () => void>();

  constructor(url: string | readonly string[], options: ClientOptions) {
    const environment = options.environment ?? surroundings;
    const urls = (typeof url === 'string' ? [url] : url).map(each => each.replace(/\/+$/, ''));
    this.#environment = environment;
    this.#store = options.store ?? localStore;
    this.#scope = `tailrace:${urls.join()}`;
    this.#onState = options.onState;
    const producer = `${environment.random().toString(36).slice(2)}${environment.random().toString(36).slice(2)}`;
    this.#outbox = new Outbox(
      {
        onFilled: () => this.#onFilled(),
        onRefused: ms => this.#in('outbox', ms, () => this.#send()),
        onLeftRefused: (message, error) => {
          if (error.code === 'closed') return;
          if (options.onLeftRefused !== undefined) options.onLeftRefused(message, error);
          else
            console.warn(
              `tailrace: a message to ${message.topic} that was left from before was refused: ${error.message}`,
            );
        },
      },
      producer,
      options.outbox,
    );
    const worked = `${this.#scope}:worked`;
    const remembered = this.#store.load(worked);
    const [transport, endpoint] = typeof remembered === 'string' ? remembered.split(' ') : [];
    const own: ConnectionOptions = {
      endpoints: new Endpoints(urls, environment, endpoint),
      environment,
      ladder: new Ladder(options.transports, environment, transport),
      token: options.token,
      client: { name: '@tailrace/client', version },
      onWorked: (...what) => void this.#store.save(worked, what.join(' ')),
    };
    if (options.user !== undefined) this.#scope += `:${options.user}`;
    // where there are no other pages there is nobody to share with
    this.#shared = environment.channel === undefined ? undefined : options.share?.(own, this.#scope);
    this.#connection = new Connection(this.#shared === undefined ? own : overTabs(own, this.#shared), this);
    if (options.keepOutbox === true) void this.#outbox.keepIn(KeptOutbox.open(this.#store, this.#scope, environment));
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** By which it is connected; undefined while it is not. */
  get transport(): TransportName | undefined {
    return this.state === 'connected' ? this.#connection.transport?.name : undefined;
  }

  /** Messages published and not answered yet. */
  get pending(): number {
    return this.#outbox.pending;
  }

  /** Receives what is published to topics that match one of the filters, each record once, in order. */
  subscribe<T = unknown>(filter: string | readonly string[], options: SubscribeOptions<T> = {}): Subscription<T> {
    const filters = typeof filter === 'string' ? [filter] : filter;
    const { from, name, cursor } = options;
    if (this.state === 'closed') throw new TailraceError('closed', 'the client was closed');
    if (from === 'saved' && name === undefined) throw new TailraceError('invalid_use', 'from: "saved" needs a name');
    const label = this.#labelOf(filters);
    const subscription = new OpenSubscription<T>(filters, label, options, this);
    this.#subscriptions.set(label, subscription as OpenSubscription);
    if (from === 'saved' && cursor === undefined)
      Saved.load(this.#store, `${this.#scope}:${name}`, this.#environment).then(
        saved => subscription.begin(saved),
        cause => subscription.fail(new TailraceError('invalid_use', 'the saved cursor cannot be read', { cause })),
      );
    else subscription.begin(undefined);
    return subscription;
  }

  /**
   * Publishes one message: a JSON value, or bytes. Resolves when the server has taken it, however often the connection is
   * lost before, and once; rejects when the server refuses it.
   */
  publish(topic: string, data?: unknown, options: PublishOptions = {}): Promise<Receipt> {
    if (this.state === 'closed') return Promise.reject(new TailraceError('closed', 'the client was closed'));
    return this.#outbox.add(wireMessage(topic, data, options));
  }

  /** Ends everything: subscriptions are closed, publishes without an answer are rejected with `closed`. */
  close(): void {
    this.#connection.handle('closed');
    this.#shared?.close();
  }

  // what a connection asks of its client

  /** @internal */
  get isNeeded(): boolean {
    return this.#subscriptions.size > 0 || !this.#outbox.isEmpty;
  }

  /** @internal */
  wanted(canHold: boolean): readonly WireSubscription[] {
    const wanted: WireSubscription[] = [];
    for (const subscription of this.#subscriptions.values()) {
      if (!subscription.isBegun || (subscription.isFull && !canHold) || this.#later.has(subscription)) continue;
      subscription.feed.asked(false);
      wanted.push(subscription.request);
    }
    return wanted;
  }

  /** @internal */
  onFrame(frame: ServerFrame): void {
    if ('sub' in frame && frame.sub !== undefined) this.#subscriptions.get(frame.sub)?.onFrame(frame);
  }

  /** @internal */
  onPublished(answer: Published): void {
    this.#outbox.onPublished(answer);
  }

  /** @internal */
  onReady(isBare: boolean): void {
    if (isBare) for (const subscription of this.#subscriptions.values()) this.enter(subscription, 0);
    this.#send();
  }

  /** @internal */
  onGone(): void {
    this.#outbox.lost();
    for (const subscription of this.#subscriptions.values()) subscription.lost();
  }

  /** @internal */
  onFailed(error: TailraceError): void {
    for (const stop of this.#later.values()) stop();
    this.#later.clear();
    this.#outbox.fail(error);
    for (const subscription of [...this.#subscriptions.values()])
      if (error.code === 'closed') subscription.close();
      else subscription.fail(error);
  }

  /** @internal */
  onState(state: ConnectionState, reason: TailraceError | undefined): void {
    this.#onState?.(state, reason);
  }

  // what a subscription asks of its client

  /** @internal */
  enter(subscription: OpenSubscription, after: number): void {
    if (after > 0) {
      this.#in(subscription, after, () => this.enter(subscription, 0));
      return;
    }
    const { link, state } = this.#connection;
    if (state === 'disconnected') this.#connection.handle('needed');
    else if (link !== undefined && !subscription.isOver && !subscription.isFull)
      if (link.add(subscription.request)) subscription.feed.asked(true);
  }

  /** @internal */
  drop({ label, feed }: OpenSubscription): void {
    if (feed.wire === 'off') return;
    feed.left();
    this.#connection.link?.remove(label);
  }

  /** @internal */
  leave(subscription: OpenSubscription): void {
    if (!this.#subscriptions.delete(subscription.label)) return;
    this.#stop(subscription);
    if (this.state === 'closed') return;
    this.drop(subscription);
    this.#holdIfFull();
  }

  /** @internal */
  hold(subscription: OpenSubscription, isFull: boolean): void {
    const { transport } = this.#connection;
    if (transport === undefined) return;
    if (transport.canHold) this.#holdIfFull();
    else if (isFull) this.drop(subscription);
    if (!isFull && subscription.feed.wire === 'off') this.enter(subscription, 0);
  }

  #holdIfFull(): void {
    this.#connection.link?.hold([...this.#subscriptions.values()].some(({ isFull }) => isFull));
  }

  #onFilled(): void {
    if (this.state === 'disconnected') this.#connection.handle('needed');
    else if (!this.#later.has('outbox')) this.#in('outbox', 0, () => this.#send());
  }

  #send(): void {
    if (this.state !== 'connected' || this.#later.has('outbox')) return;
    const messages = this.#outbox.next();
    if (messages !== undefined) this.#connection.publish(messages);
  }

  #in(what: object | 'outbox', ms: number, run: () => void): void {
    this.#stop(what);
    const stop = this.#environment.after(ms, () => {
      this.#later.delete(what);
      run();
    });
    this.#later.set(what, stop);
  }

  #stop(what: object | 'outbox'): void {
    this.#later.get(what)?.();
    this.#later.delete(what);
  }

  /** Derived from the filters, so that the server sends the same bytes to all who ask for the same. */
  #labelOf(filters: readonly string[]): string {
    const whole = filters.join(' ');
    const base = whole.length <= labelMost - 4 ? whole : `${whole.slice(0, labelMost - 12)}~${whole.length}`;
    let label = base;
    for (let n = 2; this.#subscriptions.has(label); n++) label = `${base}~${n}`;
    return label;
  }
}

/** Whoever leads chooses among endpoints and transports, and knows the token. */
function overTabs({ environment, client }: ConnectionOptions, { transport }: Shared): ConnectionOptions {
  return {
    endpoints: new Endpoints([''], environment, undefined),
    environment,
    ladder: new Ladder([transport], environment, undefined),
    token: undefined,
    client,
    onWorked() {},
  };
}
