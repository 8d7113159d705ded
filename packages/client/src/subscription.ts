import type { ServerFrame } from '@tailrace/protocol';
import { errorOf, TailraceError } from './errors.ts';
import { Feed, type Notice } from './feed.ts';
import { Inbox } from './inbox.ts';
import { type Message, messageOf } from './message.ts';
import type { Saved } from './saved.ts';
import { Seen } from './seen.ts';
import type { WireSubscription } from './transports/transport.ts';

/**
 * - `waiting`: for a connection, or for the server's answer.
 * - `replaying`: what was before comes; `live`: the head is reached, and each message comes as it is published.
 * - `ended`: every topic of it has ended. `failed`: the server refused it. `closed`: by the application.
 */
export type SubscriptionState = 'waiting' | 'replaying' | 'live' | 'ended' | 'failed' | 'closed';

export type Gap = Omit<Extract<Notice, { readonly type: 'gap' }>, 'type' | 'sub'>;
export type Reset = Omit<Extract<Notice, { readonly type: 'reset' }>, 'type' | 'sub'>;

export interface SubscribeOptions<T> {
  /**
   * Where to begin: `now` (default), `earliest`, `last`, `last:N`, a time, `-5m`, `@<offset>` (protocol.md §3); or `saved`:
   * where the application got to last time, under this `name`, and else as `now`.
   */
  readonly from?: string;
  /** Behind this cursor; comes before `from`. */
  readonly cursor?: string;
  /** Under which the cursor is kept when `from` is `saved`: unique among the subscriptions of one user. */
  readonly name?: string;
  /** Messages that may wait for the application; then the server is asked to wait. 1000. */
  readonly buffer?: number;
  /** Called with each message in turn; the next waits until the promise that it returns has settled. */
  readonly onMessage?: (message: Message<T>) => unknown;
  /** Messages between two cursors are gone. By default the console warns. */
  readonly onGap?: (gap: Gap) => void;
  /** The log is not the one that the cursor was of: discard what was built from it. By default the console warns. */
  readonly onReset?: (reset: Reset) => void;
  readonly onState?: (state: SubscriptionState) => void;
  /** `onMessage` failed, or the subscription did. By default it is thrown where nobody catches it. */
  readonly onError?: (error: unknown) => void;
}

/** Messages of a subscription, in order: by `onMessage`, or by one `for await`. */
export interface Subscription<T = unknown> extends AsyncIterable<Message<T>> {
  readonly filters: readonly string[];
  readonly state: SubscriptionState;
  /** Messages that wait for the application. */
  readonly waiting: number;
  /** Everything up to here the application has taken: by the next pull, or by the settled promise of `onMessage`. */
  readonly cursor: string | undefined;
  close(): void;
}

/** What a subscription asks of its client. */
export interface SubscriptionHost {
  /** What the server sends of it is not for anybody. */
  drop(subscription: OpenSubscription): void;
  /** It is over. */
  leave(subscription: OpenSubscription): void;
  /** It wants to be asked for (again), `after` ms from now. */
  enter(subscription: OpenSubscription, after: number): void;
  /** More waits for the application than may; or that is over. */
  hold(subscription: OpenSubscription, isFull: boolean): void;
}

const bufferDefault = 1000;
const retryBase = 500;
const retryCap = 30_000;

export class OpenSubscription<T = unknown> implements Subscription<T> {
  readonly filters: readonly string[];
  readonly label: string;
  feed: Feed = new Feed(undefined, new Seen());
  state: SubscriptionState = 'waiting';
  /** It waits until it has been read on. */
  isFull = false;
  /** It is known where to begin. */
  isBegun = false;
  readonly #host: SubscriptionHost;
  readonly #options: SubscribeOptions<T>;
  #inbox: Inbox = new Inbox(undefined, new Map());
  #saved: Saved | undefined;
  readonly #ended = new Set<string>();
  #failures = 0;
  #isPumping = false;
  #error: TailraceError | undefined;
  /** The `for await` that waits for something to come. */
  #wakeReader: (() => void) | undefined;
  #isRead = false;

  constructor(filters: readonly string[], label: string, options: SubscribeOptions<T>, host: SubscriptionHost) {
    this.filters = filters;
    this.label = label;
    this.#options = options;
    this.#host = host;
  }

  /** Asks for it, from where it is to begin. */
  begin(saved: Saved | undefined): void {
    if (this.isOver) {
      saved?.close();
      return;
    }
    const start = this.#options.cursor ?? saved?.cursor;
    const beyond = new Map(saved?.beyond);
    this.feed = new Feed(start, new Seen(beyond));
    this.#inbox = new Inbox(start, beyond);
    this.#saved = saved;
    this.isBegun = true;
    this.#host.enter(this as OpenSubscription, 0);
  }

  get cursor(): string | undefined {
    return this.#inbox.cursor;
  }

  get waiting(): number {
    return this.#inbox.held;
  }

  get isOver(): boolean {
    return this.state === 'ended' || this.state === 'failed' || this.state === 'closed';
  }

  /** As it is asked for. */
  get request(): WireSubscription {
    const { cursor } = this.feed;
    const from = this.#options.from === 'saved' ? undefined : this.#options.from;
    return {
      sub: this.label,
      filter: this.filters.length === 1 ? this.filters[0]! : this.filters,
      ...(cursor === undefined ? (from === undefined ? {} : { from }) : { cursor }),
    };
  }

  onFrame(frame: ServerFrame): void {
    switch (frame.type) {
      case 'subscribed':
        if (this.feed.granted(frame.cursor) && this.state === 'waiting') this.#become('replaying');
        return;
      case 'messages':
      case 'gap':
      case 'reset':
      case 'live':
      case 'end':
      case 'cursor': {
        const item = this.feed.take(frame);
        if (item === 'broken') {
          this.#host.drop(this as OpenSubscription);
          this.#askAgain(0);
        }
        if (item === undefined || item === 'broken') return;
        this.#failures = 0;
        this.#inbox.push(item);
        this.#look();
        return;
      }
      case 'unsubscribed':
        // the answer to ours has no code; an end was told before
        if (frame.code !== undefined && frame.code !== 'topic_ended' && this.feed.wire === 'on') this.#askAgain();
        return;
      case 'error':
        if (frame.code === 'not_subscribed' || (frame.at?.index !== undefined && !this.feed.refused())) return;
        if (frame.retry === 'later') this.#askAgain(frame.retryAfter);
        else this.fail(errorOf(frame));
    }
  }

  /** The connection is gone; the next will ask for it. */
  lost(): void {
    this.feed.lost();
    if (!this.isOver) this.#become('waiting');
  }

  fail(error: TailraceError): void {
    if (this.isOver) return;
    this.#error = error;
    this.#over('failed');
    if (!this.#isRead) this.#complain(error);
  }

  close(): void {
    if (this.isOver) return;
    this.#inbox.clear();
    this.#over('closed');
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Message<T>> {
    if (this.#isRead || this.#options.onMessage !== undefined)
      throw new TailraceError('invalid_use', 'this subscription is read already');
    this.#isRead = true;
    try {
      for (;;) {
        const message = this.#nextMessage();
        if (message !== undefined) {
          yield message;
          this.#taken();
        } else if (this.isOver) {
          if (this.#error !== undefined) throw this.#error;
          return;
        } else
          await new Promise<void>(resolve => {
            this.#wakeReader = resolve;
          });
      }
    } finally {
      this.close();
    }
  }

  /** The next message; notices before it are told on the way. */
  #nextMessage(): Message<T> | undefined {
    for (let entry = this.#inbox.next(); entry !== undefined; entry = this.#inbox.next()) {
      if ('message' in entry) return messageOf(entry.message);
      this.#tell(entry.notice);
      this.#taken();
    }
    return undefined;
  }

  #taken(): void {
    // closed meanwhile: nothing is held, and nothing more is saved
    if (this.state === 'closed') return;
    const inbox = this.#inbox;
    inbox.taken();
    this.#saved?.moved(inbox.cursor, inbox.beyond);
    if (this.isFull && inbox.held <= this.#most / 2) {
      this.isFull = false;
      this.#host.hold(this as OpenSubscription, false);
    }
  }

  get #most(): number {
    return this.#options.buffer ?? bufferDefault;
  }

  #look(): void {
    if (!this.isFull && this.#inbox.held >= this.#most) {
      this.isFull = true;
      this.#host.hold(this as OpenSubscription, true);
    }
    if (this.#isRead) {
      this.#wakeReader?.();
      this.#wakeReader = undefined;
    } else if (this.#options.onMessage !== undefined && !this.#isPumping) void this.#pump(this.#options.onMessage);
  }

  async #pump(onMessage: (message: Message<T>) => unknown): Promise<void> {
    this.#isPumping = true;
    for (let message = this.#nextMessage(); message !== undefined; message = this.#nextMessage()) {
      try {
        const taken = onMessage(message);
        if (taken instanceof Object && 'then' in taken) await taken;
      } catch (error) {
        this.#complain(error);
      }
      this.#taken();
    }
    this.#isPumping = false;
  }

  #tell(notice: Notice): void {
    const { onGap, onReset } = this.#options;
    switch (notice.type) {
      case 'live':
        if (!this.isOver) this.#become('live');
        return;
      case 'gap': {
        const { type, sub, ...gap } = notice;
        if (onGap !== undefined) onGap(gap);
        else
          console.warn(`tailrace: messages of ${sub} between ${gap.after} and ${gap.cursor} are gone (${gap.reason})`);
        return;
      }
      case 'reset': {
        const { type, sub, ...reset } = notice;
        if (onReset !== undefined) onReset(reset);
        else console.warn(`tailrace: ${sub} goes on from ${reset.cursor}, its log is another (${reset.reason})`);
        return;
      }
      case 'end':
        this.#ended.add(notice.topic);
        if (this.filters.every(filter => this.#ended.has(filter))) this.#over('ended');
    }
  }

  #askAgain(after?: number): void {
    this.feed.left();
    this.#become('waiting');
    const doubled = Math.min(retryCap, retryBase * 2 ** Math.min(this.#failures++, 10));
    this.#host.enter(this as OpenSubscription, after ?? doubled);
  }

  #become(state: SubscriptionState): void {
    if (this.state === state) return;
    this.state = state;
    this.#options.onState?.(state);
  }

  #over(state: 'ended' | 'failed' | 'closed'): void {
    this.#become(state);
    this.#saved?.close();
    this.#host.leave(this as OpenSubscription);
    this.#wakeReader?.();
    this.#wakeReader = undefined;
  }

  #complain(error: unknown): void {
    const { onError } = this.#options;
    if (onError !== undefined) onError(error);
    else
      queueMicrotask(() => {
        throw error;
      });
  }
}
