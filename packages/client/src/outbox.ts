import { errorOf, TailraceError } from './errors.ts';
import type { KeptOutbox, WireMessages } from './kept-outbox.ts';
import type { Published } from './transports/transport.ts';

/** What the server says of a message that it took. */
export interface Receipt {
  /** Absent for durability `none`, which is in no log, and while it waits on the server's disk (`spooled`). */
  readonly offset?: number;
  /** The point behind the message: who subscribes from it gets what follows. */
  readonly cursor?: string;
  /** It had been taken before. */
  readonly duplicate: boolean;
  readonly spooled?: true;
}

interface Waiting {
  readonly message: Readonly<Record<string, unknown>>;
  readonly size: number;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: TailraceError) => void;
}

/** Messages and characters of one request. */
const batchMost = 256;
const batchSize = 256 * 1024;
const messagesDefault = 1000;
const pauseBase = 200;
const pauseCap = 10_000;

export interface OutboxHost {
  /** Something is to be sent. */
  onFilled(): void;
  /** It is to be tried again in `ms`. */
  onRefused(ms: number): void;
  /** A message of an earlier run was refused, and nobody waits for it any more. */
  onLeftRefused(message: Readonly<Record<string, unknown>>, error: TailraceError): void;
}

/**
 * Messages that wait for the server's answer, in order. One request is under way at a time: whatever comes meanwhile goes
 * with the next, and when one message is refused those behind it keep their order. A message carries (producer, sequence),
 * or an id of the application's, so that it may be sent again whenever no answer came.
 */
export class Outbox {
  readonly #host: OutboxHost;
  readonly #producer: string;
  readonly #most: number;
  #sequence = 0;
  #queue: Waiting[] = [];
  /** Of the queue's beginning, what was sent. */
  #sent = 0;
  #failures = 0;
  /** Where they are kept over restarts. */
  #kept: KeptOutbox | undefined;
  #isOpen = true;
  #isClosed = false;
  /** What was there when it was closed before it was known where to keep it. */
  #unsent: WireMessages = [];

  constructor(host: OutboxHost, producer: string, most: number = messagesDefault) {
    this.#host = host;
    this.#producer = producer;
    this.#most = most;
  }

  /** Nothing is sent before what an earlier run has left. */
  async keepIn(opening: Promise<KeptOutbox | undefined>): Promise<void> {
    this.#isOpen = false;
    const kept = await opening;
    if (this.#isClosed) {
      const unsent = this.#unsent;
      kept?.changed(() => [...kept.left, ...unsent]);
      kept?.close();
      return;
    }
    this.#kept = kept;
    this.#isOpen = true;
    const waiting = (messages: WireMessages): Waiting[] =>
      messages.map(message => ({
        message,
        size: JSON.stringify(message).length,
        resolve() {},
        reject: error => this.#host.onLeftRefused(message, error),
      }));
    this.#queue.unshift(...waiting(kept?.left ?? []));
    this.#changed();
    kept?.inherit(messages => {
      this.#queue.push(...waiting(messages));
      this.#changed();
      this.#host.onFilled();
    });
    if (this.#queue.length > 0) this.#host.onFilled();
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  /** Messages that are not answered yet. */
  get pending(): number {
    return this.#queue.length;
  }

  add(message: Readonly<Record<string, unknown>>): Promise<Receipt> {
    if (this.#queue.length >= this.#most)
      return Promise.reject(new TailraceError('outbox_full', `${this.#most} messages wait for the server`));
    const counted =
      message.id === undefined ? { ...message, producer: this.#producer, sequence: this.#sequence++ } : message;
    let size: number;
    try {
      size = JSON.stringify(counted).length;
    } catch (cause) {
      return Promise.reject(new TailraceError('invalid_use', 'the message is not a JSON value', { cause }));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ message: counted, size, resolve, reject });
      this.#changed();
      this.#host.onFilled();
    });
  }

  /** What is to be sent now: none while a request is under way. */
  next(): readonly unknown[] | undefined {
    if (!this.#isOpen || this.#sent > 0 || this.#queue.length === 0) return undefined;
    let size = 0;
    let count = 0;
    for (const waiting of this.#queue) {
      if (count === batchMost || (count > 0 && size + waiting.size > batchSize)) break;
      size += waiting.size;
      count++;
    }
    this.#sent = count;
    return this.#queue.slice(0, count).map(({ message }) => message);
  }

  /** What was sent and not answered is sent again with the next connection. */
  lost(): void {
    this.#sent = 0;
  }

  onPublished(answer: Published): void {
    const sent = this.#queue.splice(0, this.#sent);
    this.#sent = 0;
    const again: Waiting[] = [];
    let pause: number | undefined;
    sent.forEach((waiting, i) => {
      const result = 'problem' in answer ? { error: answer.problem } : answer.results[i];
      if (result === undefined) again.push(waiting);
      else if (!('error' in result)) waiting.resolve(result);
      else {
        const { error } = result;
        if (error.retry === 'never') waiting.reject(errorOf(error));
        else {
          again.push(waiting);
          if (error.code !== 'not_attempted') pause = error.retryAfter ?? this.#nextPause();
        }
      }
    });
    this.#queue.unshift(...again);
    this.#changed();
    if (pause === undefined) this.#failures = 0;
    if (this.#queue.length > 0) this.#host.onRefused(pause ?? 0);
  }

  /** Nothing will be sent any more; what is kept will be by the next run. */
  fail(error: TailraceError): void {
    this.#isClosed = true;
    if (!this.#isOpen) this.#unsent = this.#queue.map(({ message }) => message);
    this.#kept?.close();
    this.#kept = undefined;
    for (const { reject } of this.#queue.splice(0)) reject(error);
    this.#sent = 0;
  }

  #changed(): void {
    this.#kept?.changed(() => this.#queue.map(({ message }) => message));
  }

  #nextPause(): number {
    return Math.min(pauseCap, pauseBase * 2 ** Math.min(this.#failures++, 10));
  }
}
