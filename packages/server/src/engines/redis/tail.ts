import type { Clock } from '../../log/clock.ts';
import { Answer } from './answer.ts';
import { askPast, encodeCommand } from './ask.ts';
import { answerTimeout, isPassing, leadsElsewhere, type RedisConnection } from './connection.ts';
import { Entries } from './entries.ts';
import type { TailedStream } from './tailed-stream.ts';

/** How long the server holds a read of which there is nothing yet, ms. */
export const blockMs = 2000;
/** How often what is known is compared with the server while records come, ms. */
const statusEvery = 5000;
/** Entries of one read, of each stream: at the head few come at once; who is behind takes more with each read. */
const countAtHead = 512;
const countMost = 8192;
/** Bytes of one read, about: records may be of many megabytes. */
const readBytes = 8 * 1024 * 1024;
const pauseAfterError = 200;

/**
 * The one reader of this node on a server: follows the streams there from entry to entry, all with one read.
 *
 *   streams of a server ──► one connection, XREAD of all ──► TailedStream of each partition ──► its log
 *
 * Before it reads a stream on a new connection it asks where that log stands, since a read that waits beyond a head that went
 * back would be silent for ever.
 */
export class Tail {
  readonly connection: RedisConnection;
  readonly #clock: Clock;
  #streams: readonly TailedStream[] = [];
  readonly #answer = new Answer();
  #running: Promise<void> | undefined;
  #closed = false;
  #count = countAtHead;
  /** How often it was lost. */
  #connection = 0;
  #answeredAt: number;

  constructor(connection: RedisConnection, clock: Clock) {
    this.connection = connection;
    this.#clock = clock;
    this.#answeredAt = clock.monotonic();
    connection.redis.on('close', () => this.#connection++);
  }

  /** Follows the stream from the next read on. */
  join(stream: TailedStream): void {
    this.#streams = [...this.#streams, stream];
  }

  /** The last closes it. */
  async leave(stream: TailedStream): Promise<void> {
    stream.close();
    this.#streams = this.#streams.filter(one => one !== stream);
    if (this.#streams.length > 0) return;
    this.#closed = true;
    this.connection.close();
    await this.#running;
  }

  /** Begins, when all have joined that are to be there from the beginning. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** How long the server has been silent to this reader, ms: a read that finds nothing is answered too. */
  get silence(): number {
    return this.#clock.monotonic() - this.#answeredAt;
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        await this.connection.ready();
        const during = this.#connection;
        const streams = await this.#checked(during);
        // lost between the answer and now: a new connection is asked first
        if (during === this.#connection) await this.#read(streams, during);
      } catch (error) {
        if (this.#closed) return;
        for (const stream of this.#streams) {
          stream.askedOn = -1;
          if (!isPassing(error)) stream.refused(error);
        }
        // so many large records may have been more than comes within the time
        this.#count = 1;
        await new Promise<void>(resolve => this.#clock.after(pauseAfterError, resolve));
      }
    }
  }

  /** Those of whom it is known where they stand on this connection. */
  async #checked(connection: number): Promise<readonly TailedStream[]> {
    const now = this.#clock.monotonic();
    const due = this.#streams.filter(
      ({ askedOn, askedAt, restsUntil }) =>
        now >= restsUntil && (askedOn !== connection || now - askedAt >= statusEvery),
    );
    const failures: unknown[] = [];
    if (due.length > 0)
      await this.#within(answerTimeout, Promise.all(due.map(stream => this.#check(stream, connection, failures))));
    const known = this.#streams.filter(({ askedOn, isClosed }) => askedOn === connection && !isClosed);
    if (known.length === 0) throw failures[0] ?? new Error('there is nothing to follow');
    return known;
  }

  async #check(stream: TailedStream, connection: number, failures: unknown[]): Promise<void> {
    try {
      await stream.checkStatus();
      stream.askedOn = connection;
      stream.askedAt = this.#clock.monotonic();
    } catch (error) {
      failures.push(error);
      this.#rest(stream, error);
    }
  }

  async #read(streams: readonly TailedStream[], connection: number): Promise<void> {
    const answer = this.#answer;
    const keys = streams.map(({ key }) => key);
    const places = streams.map(({ lastEntry }) => lastEntry);
    const command = ['XREAD', 'COUNT', this.#count, 'BLOCK', blockMs, 'STREAMS', ...keys, ...places];
    await this.#within(blockMs + answerTimeout, askPast(this.connection.redis, encodeCommand(command), answer));
    if (this.#closed || connection !== this.#connection) return;
    if (answer.error !== undefined) {
      const error = new Error(answer.error);
      if (leadsElsewhere(answer.error)) this.connection.renew();
      if (streams.length > 1 && !isPassing(error)) return this.#restRefused(streams);
      throw error;
    }
    this.#answeredAt = this.#clock.monotonic();
    const answered = answer.length(0);
    if (answered === -1) {
      // silence is when a lost stream shows least
      for (const stream of streams) stream.askedAt = Number.NEGATIVE_INFINITY;
      return;
    }
    const watched = (work: Promise<void>): Promise<void> => this.#within(answerTimeout, work);
    let part = 1;
    let next = 0;
    let most = 0;
    let all = 0;
    for (let i = 0; i < answered; i++) {
      // they are answered in the order in which they were asked for; a list of key and entries each
      const key = answer.text(part + 1);
      while (next < keys.length && keys[next] !== key) next++;
      const entries = new Entries(answer, part + 2);
      const stream = streams[next]!;
      if (!stream.isClosed) await stream.take(entries, watched);
      part = entries.behind();
      most = Math.max(most, entries.count);
      all += entries.count;
    }
    this.#count = countAfter(this.#count, most, answer.size / all, answered);
  }

  /** A read of all was refused because of some, which are asked again a little later: the others go on. */
  async #restRefused(streams: readonly TailedStream[]): Promise<void> {
    const answer = this.#answer;
    for (const stream of streams) {
      const command = ['XREAD', 'COUNT', 1, 'STREAMS', stream.key, stream.lastEntry];
      await this.#within(answerTimeout, askPast(this.connection.redis, encodeCommand(command), answer));
      if (answer.error !== undefined) this.#rest(stream, new Error(answer.error));
    }
  }

  #rest(stream: TailedStream, error: unknown): void {
    stream.askedOn = -1;
    stream.restsUntil = this.#clock.monotonic() + pauseAfterError;
    if (!isPassing(error)) stream.refused(error);
  }

  /** A connection that is silent for longer than the server may be is dead, whatever TCP says. */
  async #within<T>(ms: number, work: Promise<T>): Promise<T> {
    const stopWatch = this.#clock.after(ms, () => this.connection.renew());
    try {
      return await work;
    } finally {
      stopWatch();
    }
  }
}

/**
 * How many entries of each stream to ask for next: more while one has as many, and no more of those sizes than `readBytes`.
 */
function countAfter(asked: number, most: number, bytesEach: number, streams: number): number {
  const fits = Math.max(1, Math.floor(readBytes / (bytesEach * streams)));
  return Math.min(fits, most === asked ? Math.min(countMost, asked * 2) : countAtHead);
}
