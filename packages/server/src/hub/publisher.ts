import {
  type CurrentRecord,
  type Durability,
  envelopeHead,
  type Message,
  matchFilter,
  TailraceError,
  toTailraceError,
} from '@tailrace/protocol';
import {
  type Appended,
  type AppendFailure,
  bridgedTopic,
  type Clock,
  type Log,
  type StoredDurability,
} from '../log/index.ts';
import type { Brake, Held } from './brake.ts';
import { Deadlines, type Expiring } from './deadlines.ts';
import { envelopeText } from './envelope-bytes.ts';
import { MixedDeadlines } from './mixed-deadlines.ts';

/** Bytes of data up to which a failed expectation tells the record that it met in whole. */
const toldDataMax = 64 * 1024;

/** What became of one message: in the log, passed on live (class `none`), or refused. */
export type Published =
  | { readonly offset: number; readonly time: number; readonly duplicate: boolean }
  | typeof passedOn
  | typeof spooled
  | { readonly error: TailraceError };

/** Class `none`: accepted and passed on; there is no offset and no promise. */
export const passedOn: unique symbol = Symbol('passed on');

/** On this node's disk until the engine takes it: it has no offset yet, and nobody sees it. */
export const spooled: unique symbol = Symbol('spooled');

/** Takes messages while the engine is away; see `Spool` in log/. */
export interface Spooling {
  /** Whether it takes messages of this topic. */
  takes(topic: string): boolean;
  /** Messages that wait: what it takes queues behind them. */
  readonly waiting: number;
  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]>;
}

export interface DurabilityRule {
  readonly filter: string;
  readonly durability: Durability;
}

/** Says whether publishes can be taken at all just now. */
export interface Breaker {
  /** Why not; undefined when they can. */
  readonly reason: string | undefined;
  /** Throws when not. */
  admit(): void;
}

export interface PublisherOptions {
  readonly log: Log;
  readonly brake: Brake;
  readonly breaker: Breaker;
  readonly spool?: Spooling | undefined;
  readonly clock: Clock;
  /** Class of messages that name none and match no rule. */
  readonly durability: Durability;
  readonly rules: readonly DurabilityRule[];
  /** How long a publish may wait for its commit, and then for its ack, ms from its beginning. */
  readonly deadline: number;
  /** Takes a message of class `none`. */
  readonly passOn: (message: Message) => void;
}

/** The way in: admission by the brake, durability class, append, and the ack held back while delivery lags. */
export class Publisher {
  readonly #o: PublisherOptions;
  readonly #deadlines: Deadlines;
  /** Of the publishes that name their own. */
  readonly #named: MixedDeadlines;
  /** Set while the server drains: nothing new is taken. */
  draining = false;
  /** Publishes handed to the log and not answered yet. */
  inFlight = 0;

  constructor(options: PublisherOptions) {
    this.#o = options;
    this.#deadlines = new Deadlines(options.clock, options.deadline);
    this.#named = new MixedDeadlines(options.clock);
  }

  /** Why nothing can be published just now, as far as that is the engine's. */
  get engineOut(): string | undefined {
    return this.#o.breaker.reason;
  }

  /** Publishes whose deadline is watched; some of them may have been answered since the last beat. */
  get deadlineCount(): number {
    return this.#deadlines.size + this.#named.size;
  }

  /** Answers publishes whose deadline, `publish.deadline`, has come. Called by the beat. */
  sweep(): void {
    this.#deadlines.sweep();
  }

  /**
   * Publishes in order and stops at the first failure: the result ends with `error` then, and is shorter than the input.
   * Resolves after the commit (I1), later still while the brake holds acks, but not after the deadline (ms; undefined: the
   * server's). Rejects with a TailraceError when nothing of the batch was appended, or (`outcome_unknown`,
   * `deadline_exceeded`) when that cannot be known.
   */
  async publish(messages: readonly Message[], deadline?: number): Promise<readonly Published[]> {
    if (this.draining)
      throw new TailraceError(
        'draining',
        'the server is shutting down; publish to it again after its restart, or to another node',
      );
    const { bridge } = this.#o.log;
    if (bridge !== undefined) {
      const bridged = messages.findIndex(({ topic }) => bridge.has(topic));
      if (bridged !== -1) return this.#publishBefore(bridged, messages, deadline);
    }
    if (this.#o.breaker.reason === undefined || !messages.every(message => this.#spools(message)))
      this.#o.breaker.admit();
    this.#o.brake.admit();
    this.inFlight += messages.length;
    try {
      const pending = new Pending(this.#o.brake, this.#append(messages), deadline);
      if (deadline === undefined) this.#deadlines.add(pending);
      else this.#named.add(pending, deadline);
      return await pending.answer;
    } finally {
      this.inFlight -= messages.length;
    }
  }

  /** Those before the one that nobody can publish here, and why it cannot be. */
  async #publishBefore(
    bridged: number,
    messages: readonly Message[],
    deadline: number | undefined,
  ): Promise<readonly Published[]> {
    const results = bridged === 0 ? [] : await this.publish(messages.slice(0, bridged), deadline);
    if (results.length < bridged || (bridged > 0 && isFailure(results[bridged - 1]!))) return results;
    return [...results, { error: bridgedTopic(messages[bridged]!.topic) }];
  }

  /** The class a message gets: its own, else that of the first rule that matches its topic, else the default. */
  durabilityOf(message: Message): Durability {
    if (message.durability !== undefined) return message.durability;
    for (const rule of this.#o.rules) if (matchFilter(rule.filter, message.topic)) return rule.durability;
    return this.#o.durability;
  }

  /** Whether a message may wait on this node: one that expects something cannot be judged here, and one of class `none` is not kept. */
  #spools(message: Message): boolean {
    const { spool } = this.#o;
    if (spool === undefined || message.expect !== undefined || !spool.takes(message.topic)) return false;
    return this.durabilityOf(message) !== 'none';
  }

  /** The engine is away, or something waits for it already that must not be overtaken. */
  get #isSpooling(): boolean {
    const { spool, breaker } = this.#o;
    return spool !== undefined && (spool.waiting > 0 || breaker.reason !== undefined);
  }

  async #append(messages: readonly Message[]): Promise<readonly Published[]> {
    return this.#isSpooling ? this.#appendSpooling(messages) : this.#appendNow(messages);
  }

  /** In order: what does not wait follows what does, and stops at the first failure. */
  async #appendSpooling(messages: readonly Message[]): Promise<readonly Published[]> {
    const results: Published[] = [];
    for (let i = 0; i < messages.length; ) {
      const waits = this.#spools(messages[i]!);
      const start = i;
      while (i < messages.length && this.#spools(messages[i]!) === waits) i++;
      const piece = messages.slice(start, i);
      const told = waits ? await this.#spool(piece) : await this.#appendNow(piece);
      results.push(...told);
      if (results.length < i || isFailure(results[i - 1]!)) break;
    }
    return results;
  }

  async #spool(messages: readonly Message[]): Promise<readonly Published[]> {
    const results = await this.#o.spool!.append(messages, 'fsync');
    return results.map((result): Published => ('error' in result ? { error: toTailraceError(result.error) } : spooled));
  }

  async #appendNow(messages: readonly Message[]): Promise<readonly Published[]> {
    let strongest: StoredDurability = 'written';
    let anyLive = false;
    for (const message of messages) {
      const durability = this.durabilityOf(message);
      if (durability === 'fsync') strongest = 'fsync';
      else if (durability === 'none') anyLive = true;
    }
    if (!anyLive) return this.#toPublished(await this.#o.log.append(messages, strongest));
    return this.#appendMixed(messages, strongest);
  }

  /** Live messages go out as those before them are committed, so that a failure still stops what follows it. */
  async #appendMixed(messages: readonly Message[], durability: StoredDurability): Promise<readonly Published[]> {
    const results: Published[] = [];
    for (let i = 0; i < messages.length; ) {
      if (this.durabilityOf(messages[i]!) === 'none') {
        if (messages[i]!.expect !== undefined) {
          results.push({ error: expectsUnstored(messages[i]!) });
          break;
        }
        this.#o.passOn(messages[i++]!);
        results.push(passedOn);
        continue;
      }
      const start = i;
      while (i < messages.length && this.durabilityOf(messages[i]!) !== 'none') i++;
      try {
        for (const result of await this.#toPublished(await this.#o.log.append(messages.slice(start, i), durability)))
          results.push(result);
      } catch (error) {
        if (start === 0) throw error;
        results.push(...failures(toTailraceError(error), i - start));
      }
      if (results.length < i || isFailure(results[i - 1]!)) break;
    }
    return results;
  }

  /** The log stops at the first failure: only the last result can be one. */
  #toPublished(results: readonly (Appended | AppendFailure)[]): readonly Published[] | Promise<readonly Published[]> {
    const last = results[results.length - 1];
    if (last === undefined || !('error' in last)) return results as readonly Appended[];
    const taken = results.slice(0, -1) as readonly Appended[];
    const error = toTailraceError(last.error);
    if (error.code !== 'expect_failed') return [...taken, { error }];
    return this.#withRecord(error).then(told => [...taken, { error: told }]);
  }

  /** A failed expectation with the record that it met, from which the publisher can decide anew. */
  async #withRecord(error: TailraceError): Promise<TailraceError> {
    const { current, at } = error;
    if (current === undefined || current === null) return error;
    const [record] = await this.#o.log.recordsAt(Float64Array.of(current.offset), 1).catch(() => []);
    if (record === undefined) return error;
    const text = record.data.length > toldDataMax ? `${envelopeHead(record)}}` : envelopeText(record);
    return new TailraceError(error.code, error.message, {
      ...(at === undefined ? {} : { at }),
      current: JSON.parse(text) as CurrentRecord,
    });
  }
}

/**
 * One publish from its append to its answer, which comes at the deadline at the latest. By then an append that is
 * committed is acked although the brake still holds it; what became of one that is not, nobody knows.
 */
class Pending implements Expiring, Held {
  readonly answer: Promise<readonly Published[]>;
  settled = false;
  readonly #brake: Brake;
  readonly #named: number | undefined;
  #committed: readonly Published[] | undefined;
  #resolve!: (results: readonly Published[]) => void;
  #reject!: (error: TailraceError) => void;

  constructor(brake: Brake, appended: Promise<readonly Published[]>, named: number | undefined) {
    this.#brake = brake;
    this.#named = named;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    appended.then(
      results => this.#commit(results),
      (error: unknown) => this.#fail(toTailraceError(error)),
    );
  }

  expire(): void {
    if (this.#committed !== undefined) {
      this.#brake.drop(this);
      this.released();
      return;
    }
    this.#fail(
      new TailraceError(
        'deadline_exceeded',
        `not committed within ${this.#named === undefined ? 'publish.deadline' : `the ${this.#named} ms that it named`}; it may still commit, so publish again with the same id`,
        { retryAfter: 1000 },
      ),
    );
  }

  released(): void {
    this.settled = true;
    this.#resolve(this.#committed!);
  }

  #commit(results: readonly Published[]): void {
    if (this.settled) return;
    this.#committed = results;
    if (!this.#brake.hold(this)) this.released();
  }

  #fail(error: TailraceError): void {
    this.settled = true;
    this.#reject(error);
  }
}

function expectsUnstored({ topic }: Message): TailraceError {
  return new TailraceError(
    'bad_request',
    `a message of durability none is not stored and cannot expect anything of a key: leave out expect, or give ${JSON.stringify(topic)} another durability`,
    { at: { field: 'expect' } },
  );
}

function isFailure(result: Published): boolean {
  return result !== passedOn && result !== spooled && 'error' in result;
}

/**
 * What a rejected append of `count` messages means for each: where the outcome is unknown any of them may be in the log,
 * otherwise the first failed and the rest were not attempted.
 */
export function failures(error: TailraceError, count: number): Published[] {
  return Array.from({ length: error.toProblem().outcome === 'unknown' ? count : 1 }, () => ({ error }));
}
