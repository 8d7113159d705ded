import type { ConnectionOptions } from '../connection.ts';
import type { Channel, Lock } from '../environment.ts';
import { lost, TailraceError } from '../errors.ts';
import type { Dial, Link, Transport, WireSubscription } from '../transports/transport.ts';
import { Relay } from './relay.ts';
import type { Letter, Words } from './words.ts';

/** One connection for all tabs of an origin, as one tab has it. */
export interface Shared {
  /** To whichever tab has the connection. */
  readonly transport: Transport;
  close(): void;
}

/**
 * For the option `share` of a client: the tabs of an origin elect one that keeps the connection (`Relay`). Each tab has its own
 * subscriptions, cursors and outbox, as if the leader were the server; when the leader goes, another is elected, and every
 * tab goes on by its cursors.
 */
export function tabs(options: ConnectionOptions, scope: string): Shared {
  return new Tab(options, scope);
}

class Tab implements Shared {
  readonly transport: Transport;
  /** Settles when the others can tell that this tab is there. */
  readonly isThere: Promise<unknown>;
  readonly #id: string;
  readonly #channel: Channel;
  readonly #presence: Lock;
  readonly #leadership: Lock;
  readonly #links = new Map<number, TabLink>();
  #relay: Relay | undefined;
  #lines = 0;
  #isClosed = false;

  constructor(options: ConnectionOptions, scope: string) {
    const { environment } = options;
    this.#id = environment.random().toString(36).slice(2);
    this.#channel = environment.channel!(scope, letter => this.#take(letter as Letter));
    this.#presence = environment.lock(`${scope}:tab:${this.#id}`, false);
    this.isThere = this.#presence.held;
    this.#leadership = environment.lock(`${scope}:leader`, true);
    void this.#leadership.held.then(isHeld => {
      if (!isHeld || this.#isClosed) return;
      this.#relay = new Relay({
        connection: options,
        presenceOf: tab => (tab === this.#id ? undefined : environment.lock(`${scope}:tab:${tab}`, true)),
        send: (tab, words) => this.send(tab, words),
      });
      this.send('all', { kind: 'led' });
    });
    this.transport = {
      name: 'tabs',
      canHold: false,
      isOffered: () => true,
      open: dial => {
        const line = ++this.#lines;
        const link = new TabLink(this, line, dial, () => this.#links.delete(line));
        this.#links.set(line, link);
        return link;
      },
    };
  }

  send(to: string, words: Words): void {
    const letter: Letter = { to, from: this.#id, words };
    // a channel is not heard by who speaks; and nobody is answered before they have finished asking
    if (to === 'all' || to === this.#id || (to === 'leader' && this.#relay !== undefined))
      queueMicrotask(() => this.#take(letter));
    if (to === 'all' || !(to === this.#id || (to === 'leader' && this.#relay !== undefined)))
      this.#channel.send(letter);
  }

  close(): void {
    this.#isClosed = true;
    this.#relay?.close();
    this.#relay = undefined;
    this.#leadership.release();
    this.#presence.release();
    this.#channel.close();
  }

  #take({ to, from, words }: Letter): void {
    if (to === 'leader') this.#relay?.take(from, words);
    else if (words.kind === 'led') for (const link of [...this.#links.values()]) link.lose('another tab leads');
    else if (to === this.#id) this.#links.get(words.line)?.take(words);
  }
}

/** What one tab has open to the one that leads. */
class TabLink implements Link {
  readonly #tab: Tab;
  readonly #line: number;
  readonly #dial: Dial;
  readonly #onClose: () => void;
  #isOpen = false;
  #isClosed = false;

  constructor(tab: Tab, line: number, dial: Dial, onClose: () => void) {
    this.#tab = tab;
    this.#line = line;
    this.#dial = dial;
    this.#onClose = onClose;
    void tab.isThere.then(() => {
      if (this.#isClosed) return;
      this.#isOpen = true;
      tab.send('leader', { kind: 'open', line, wanted: dial.wanted() });
    });
  }

  add(wanted: WireSubscription): boolean {
    if (this.#isOpen) this.#tab.send('leader', { kind: 'add', line: this.#line, wanted });
    return this.#isOpen;
  }

  remove(sub: string): void {
    if (this.#isOpen) this.#tab.send('leader', { kind: 'remove', line: this.#line, sub });
  }

  hold(): void {}

  publish(messages: readonly unknown[]): void {
    this.#tab.send('leader', { kind: 'publish', line: this.#line, messages });
  }

  ping(): boolean {
    return false;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
    if (this.#isOpen) this.#tab.send('leader', { kind: 'close', line: this.#line });
    this.#isOpen = false;
  }

  take(words: Words): void {
    const { listener } = this.#dial;
    if (words.kind === 'welcome') listener.onWelcome(words.welcome);
    else if (words.kind === 'frame') listener.onFrame(words.frame);
    else if (words.kind === 'alive') listener.onAlive();
    else if (words.kind === 'published') listener.onPublished(words.answer);
    else if (words.kind === 'lost') {
      this.close();
      const error = new TailraceError(words.code as TailraceError['code'], words.reason);
      listener.onLost({ error, retryAfter: 0, isFinal: words.isFinal });
    }
  }

  lose(reason: string): void {
    this.close();
    this.#dial.listener.onLost({ error: lost(reason), retryAfter: 0 });
  }
}
