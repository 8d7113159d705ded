import type { Message } from '@tailrace/protocol';
import type { KeyIndex, Table } from './key-index.ts';
import type { Appended, AppendFailure } from './log.ts';
import type { StoredDurability } from './record.ts';

type Results = readonly (Appended | AppendFailure)[];

/** Takes messages into the next commit; `bytes` is what they may have at most. */
export type Append = (messages: readonly Message[], durability: StoredDurability, bytes: number) => Promise<Results>;

export interface HeldAppendsParts {
  readonly index: KeyIndex;
  readonly head: () => number;
  /** The newest offset given out. */
  readonly appended: () => number;
  readonly append: Append;
}

/**
 * Appends that expect something of keys which the index does not hold: they wait until it does. Appends to the same topics
 * wait behind them, so that the order of calls stays the order of offsets of each topic; others go ahead.
 */
export class HeldAppends {
  /** Of the messages that wait. */
  bytes = 0;
  records = 0;
  readonly #parts: HeldAppendsParts;
  #held: HeldAppend[] = [];
  /** Of the messages that wait. */
  #topics: Set<string> = new Set();
  #idle: (() => void)[] = [];

  constructor(parts: HeldAppendsParts) {
    this.#parts = parts;
  }

  /** Whether an append of these messages has to wait. */
  mustHold(messages: readonly Message[]): boolean {
    for (const { topic, expect } of messages) {
      if (expect !== undefined && this.#parts.index.ready(topic) === undefined) return true;
      if (this.#topics.has(topic)) return true;
    }
    return false;
  }

  hold(messages: readonly Message[], durability: StoredDurability, bytes: number): Promise<Results> {
    const { index, appended } = this.#parts;
    const expecting = new Set(messages.filter(({ expect }) => expect !== undefined).map(({ topic }) => topic));
    const tables = [...expecting].map(topic => index.use(topic, appended()));
    const held = new HeldAppend(messages, durability, bytes, tables);
    this.#held.push(held);
    for (const topic of held.topics) this.#topics.add(topic);
    this.bytes += bytes;
    this.records += messages.length;
    Promise.all(tables.map(({ loading }) => loading)).then(
      () => this.goOn(),
      (error: unknown) => {
        held.failure = error;
        this.goOn();
      },
    );
    return held.promise;
  }

  /** Lets go whatever need not wait any more. Called when the head moved, or appends were taken back. */
  goOn(): void {
    if (this.#held.length === 0) return;
    const head = this.#parts.head();
    const waiting: HeldAppend[] = [];
    const blocked = new Set<string>();
    const free: HeldAppend[] = [];
    for (const held of this.#held) {
      if (held.isReady(head) && !held.touches(blocked)) free.push(held);
      else {
        waiting.push(held);
        for (const topic of held.topics) blocked.add(topic);
      }
    }
    this.#held = waiting;
    this.#topics = blocked;
    for (const held of free) this.#letGo(held);
    this.#tellIdle();
  }

  /** The log takes nothing more: those that wait are refused like any other. */
  letAllGo(): void {
    const all = this.#held;
    this.#held = [];
    this.#topics.clear();
    for (const held of all) this.#letGo(held);
    this.#tellIdle();
  }

  /** Resolves when nothing waits. */
  settled(): Promise<void> {
    return this.#held.length === 0 ? Promise.resolve() : new Promise(resolve => this.#idle.push(resolve));
  }

  #letGo(held: HeldAppend): void {
    this.bytes -= held.bytes;
    this.records -= held.messages.length;
    if (held.failure !== undefined) held.reject(held.failure);
    else this.#parts.append(held.messages, held.durability, held.bytes).then(held.resolve, held.reject);
    for (const table of held.tables) this.#parts.index.release(table);
  }

  #tellIdle(): void {
    if (this.#held.length === 0) for (const done of this.#idle.splice(0)) done();
  }
}

class HeldAppend {
  readonly messages: readonly Message[];
  readonly durability: StoredDurability;
  readonly bytes: number;
  readonly tables: readonly Table[];
  readonly topics: ReadonlySet<string>;
  readonly promise: Promise<Results>;
  resolve!: (results: Results) => void;
  reject!: (error: unknown) => void;
  /** Its tables could not be made. */
  failure: unknown;

  constructor(messages: readonly Message[], durability: StoredDurability, bytes: number, tables: readonly Table[]) {
    this.messages = messages;
    this.durability = durability;
    this.bytes = bytes;
    this.tables = tables;
    this.topics = new Set(messages.map(({ topic }) => topic));
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  touches(topics: ReadonlySet<string>): boolean {
    for (const topic of this.topics) if (topics.has(topic)) return true;
    return false;
  }

  isReady(head: number): boolean {
    if (this.failure !== undefined) return true;
    return this.tables.every(({ loaded, complete }) => loaded && complete <= head);
  }
}
