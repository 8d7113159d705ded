import type { ServerFrame } from '@tailrace/protocol';
import { Connection, type ConnectionHost, type ConnectionOptions } from '../connection.ts';
import type { Lock } from '../environment.ts';
import type { TailraceError } from '../errors.ts';
import type { Published, Welcome, WireSubscription } from '../transports/transport.ts';
import type { Answer, Words } from './words.ts';

export interface RelayParts {
  readonly connection: ConnectionOptions;
  /** The lock that a tab holds as long as it is there; undefined for this one. */
  readonly presenceOf: (tab: string) => Lock | undefined;
  readonly send: (tab: string, answer: Answer) => void;
}

/** What a tab has open. */
interface Line {
  readonly tab: string;
  readonly line: number;
  /** Stands before the labels of its subscriptions. */
  readonly prefix: string;
  /** By label, each with its newest cursor. */
  readonly wanted: Map<string, WireSubscription>;
}

/** How often tabs hear that this one is there, ms. */
const aliveEvery = 5000;

/** In the tab that leads: carries what all tabs want over one connection. It keeps no message: tabs have their cursors. */
export class Relay implements ConnectionHost {
  readonly #parts: RelayParts;
  readonly #connection: Connection;
  readonly #lines = new Map<string, Line>();
  readonly #presences = new Map<string, Lock>();
  /** Publishes that wait for their turn, the first of which is under way; one a line at most. */
  #publishing: { readonly line: Line; readonly messages: readonly unknown[] }[] = [];
  #welcome: Welcome | undefined;
  #stopAlive: (() => void) | undefined;
  #isClosed = false;

  constructor(parts: RelayParts) {
    this.#parts = parts;
    this.#connection = new Connection(parts.connection, this);
    this.#beAlive();
  }

  take(tab: string, words: Words): void {
    if (words.kind === 'open') {
      this.#open(tab, words.line, words.wanted);
      return;
    }
    if (!('line' in words)) return;
    const line = this.#lines.get(`${tab} ${words.line}`);
    if (line === undefined) return;
    if (words.kind === 'add') this.#add(line, words.wanted);
    else if (words.kind === 'remove') this.#remove(line, words.sub);
    else if (words.kind === 'publish') this.#publish(line, words.messages);
    else if (words.kind === 'close') this.#close(line);
  }

  close(): void {
    this.#isClosed = true;
    this.#stopAlive?.();
    for (const lock of this.#presences.values()) lock.release();
    this.#connection.handle('closed');
  }

  get isNeeded(): boolean {
    return this.#lines.size > 0;
  }

  wanted(): readonly WireSubscription[] {
    return [...this.#lines.values()].flatMap(({ prefix, wanted }) =>
      [...wanted.values()].map(item => ({ ...item, sub: prefix + item.sub })),
    );
  }

  onFrame(frame: ServerFrame): void {
    if (!('sub' in frame) || frame.sub === undefined) return;
    const dot = frame.sub.indexOf('.') + 1;
    const prefix = frame.sub.slice(0, dot);
    const sub = frame.sub.slice(dot);
    for (const line of this.#lines.values()) {
      const item = line.prefix === prefix ? line.wanted.get(sub) : undefined;
      if (item === undefined) continue;
      if ('cursor' in frame && frame.cursor !== undefined) line.wanted.set(sub, { ...item, cursor: frame.cursor });
      this.#tell(line, { kind: 'frame', line: line.line, frame: { ...frame, sub } });
    }
  }

  onPublished(answer: Published): void {
    const done = this.#publishing.shift();
    if (done !== undefined) this.#tell(done.line, { kind: 'published', line: done.line.line, answer });
    this.#publishNext();
  }

  onWelcome(welcome: Welcome): void {
    this.#welcome = welcome;
  }

  onReady(isBare: boolean): void {
    for (const line of this.#lines.values()) {
      this.#tell(line, { kind: 'welcome', line: line.line, welcome: this.#welcome! });
      if (!isBare) continue;
      for (const item of line.wanted.values()) this.#connection.link!.add({ ...item, sub: line.prefix + item.sub });
    }
  }

  /** Each tab asks again, and goes on by its cursors. */
  onGone(): void {
    this.#lose('connection_lost', 'the tab that leads has lost the connection', false);
  }

  onFailed(error: TailraceError): void {
    this.#lose(error.code, error.message, !this.#isClosed);
  }

  onState(): void {}

  #open(tab: string, number: number, wanted: readonly WireSubscription[]): void {
    const line: Line = {
      tab,
      line: number,
      prefix: this.#freePrefix(),
      wanted: new Map(wanted.map(item => [item.sub, item])),
    };
    this.#lines.set(`${tab} ${number}`, line);
    this.#watch(tab);
    const { state, link } = this.#connection;
    if (state === 'connected') {
      this.#tell(line, { kind: 'welcome', line: number, welcome: this.#welcome! });
      for (const item of wanted) link!.add({ ...item, sub: line.prefix + item.sub });
    } else if (state === 'disconnected') this.#connection.handle('needed');
    else for (const item of wanted) link?.add({ ...item, sub: line.prefix + item.sub });
  }

  #add(line: Line, item: WireSubscription): void {
    line.wanted.set(item.sub, item);
    this.#connection.link?.add({ ...item, sub: line.prefix + item.sub });
  }

  #remove(line: Line, sub: string): void {
    if (line.wanted.delete(sub)) this.#connection.link?.remove(line.prefix + sub);
  }

  #publish(line: Line, messages: readonly unknown[]): void {
    this.#publishing.push({ line, messages });
    if (this.#publishing.length === 1) this.#publishNext();
  }

  #publishNext(): void {
    const [next] = this.#publishing;
    if (next !== undefined) this.#connection.publish(next.messages);
  }

  #close(line: Line): void {
    this.#lines.delete(`${line.tab} ${line.line}`);
    for (const sub of [...line.wanted.keys()]) this.#remove(line, sub);
    // one that is under way is answered to nobody
    this.#publishing = this.#publishing.filter((each, i) => i === 0 || each.line !== line);
  }

  #lose(code: string, reason: string, isFinal: boolean): void {
    this.#publishing = [];
    const lines = [...this.#lines.values()];
    this.#lines.clear();
    for (const line of lines) this.#tell(line, { kind: 'lost', line: line.line, code, reason, isFinal });
  }

  #tell({ tab }: Line, answer: Answer): void {
    this.#parts.send(tab, answer);
  }

  /** A tab that is gone wants nothing. */
  #watch(tab: string): void {
    if (this.#presences.has(tab)) return;
    const presence = this.#parts.presenceOf(tab);
    if (presence === undefined) return;
    this.#presences.set(tab, presence);
    void presence.held.then(() => {
      presence.release();
      this.#presences.delete(tab);
      for (const line of [...this.#lines.values()]) if (line.tab === tab) this.#close(line);
    });
  }

  #beAlive(): void {
    this.#stopAlive = this.#parts.connection.environment.after(aliveEvery, () => {
      // none hears of it that the server is gone
      if (this.#connection.state === 'connected')
        for (const line of this.#lines.values()) this.#tell(line, { kind: 'alive', line: line.line });
      this.#beAlive();
    });
  }

  /** The lowest, so that the server finds the same labels in many browsers. */
  #freePrefix(): string {
    const taken = new Set([...this.#lines.values()].map(({ prefix }) => prefix));
    let n = 0;
    while (taken.has(`${n}.`)) n++;
    return `${n}.`;
  }
}
