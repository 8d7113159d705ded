import { type Message, TailraceError } from '@tailrace/protocol';
import type { Clock } from '../../log/clock.ts';
import { encodedBound } from '../../log/intake.ts';
import type { Appended, AppendFailure } from '../../log/log.ts';
import { expectFailed, recordTooLarge, sequenceTooOld, topicEnded } from '../../log/refusals.ts';
import { packRecord } from '../packed-record.ts';
import { isPassing, type RedisConnection } from './connection.ts';
import { replicated } from './replicated.ts';
import { append as appendScript, outcome } from './scripts/append.ts';

type Result = Appended | AppendFailure;
type Argument = string | number | Buffer;

export interface AppendsParts {
  readonly connection: RedisConnection;
  readonly clock: Clock;
  /** Keys of the script, that of this node's batches last. */
  readonly keys: readonly string[];
  /** Arguments that every script begins with. */
  readonly known: () => readonly Argument[];
  /** Arguments behind the number of the batch. */
  readonly limits: readonly Argument[];
  /** Largest record, bytes. */
  readonly recordBytes: number;
  /** What may wait. */
  readonly bytesMax: number;
  readonly recordsMax: number;
  /** Replicas that must have a batch before it is acked. */
  readonly replicas: number;
  /** Resolves when this node's tail has come to `offset` of `epoch`. */
  readonly reached: (epoch: number, offset: number) => Promise<void>;
  readonly onCommit: (durationMs: number, records: number, bytes: number) => void;
  readonly onError: (error: unknown) => void;
}

/** Messages and bytes of one call, at most: Redis serves nobody else meanwhile. */
const batchRecords = 512;
const batchBytes = 1024 * 1024;
const pauseAfterError = 100;
/** How long a batch is sent again, ms: well below the hour for which the server remembers it. */
const giveUpAfter = 10 * 60 * 1000;

/** A call of `append`, of which the first message that fails is the last. */
interface Call {
  failed: boolean;
}

/** As much of a call of `append` as goes into one batch. */
class Waiting {
  readonly promise: Promise<readonly Result[]>;
  readonly call: Call;
  readonly messages: readonly Message[];
  readonly bytes: number;
  readonly since: number;
  resolve!: (results: readonly Result[]) => void;
  reject!: (error: unknown) => void;

  constructor(call: Call, messages: readonly Message[], bytes: number, since: number) {
    this.call = call;
    this.messages = messages;
    this.bytes = bytes;
    this.since = since;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/**
 * The way in: one batch is under way at a time, and what is appended meanwhile is the next. A batch whose answer was lost is
 * sent again under the same number until the server answers, so that it is appended once.
 */
export class Appends {
  commits = 0;
  pendingRecords = 0;
  pendingBytes = 0;
  /** Why the server takes nothing just now. */
  refused: string | undefined;
  readonly #parts: AppendsParts;
  #queue: Waiting[] = [];
  #number = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(parts: AppendsParts) {
    this.#parts = parts;
  }

  append(messages: readonly Message[]): Promise<readonly Result[]> {
    if (this.#closed) return Promise.reject(new TailraceError('draining', 'the log is closed'));
    const bytes = boundOf(messages);
    const { bytesMax, recordsMax } = this.#parts;
    const { pendingRecords } = this;
    if (pendingRecords > 0 && (this.pendingBytes + bytes > bytesMax || pendingRecords + messages.length > recordsMax))
      return Promise.reject(
        new TailraceError('overloaded', `${pendingRecords} records wait for their commit`, { retryAfter: 100 }),
      );
    if (messages.length === 0) return Promise.resolve([]);
    this.pendingRecords += messages.length;
    this.pendingBytes += bytes;
    const call: Call = { failed: false };
    const since = this.#parts.clock.monotonic();
    const pieces = piecesOf(messages).map(piece => new Waiting(call, piece, boundOf(piece), since));
    this.#queue.push(...pieces);
    this.#running ??= this.#run();
    return pieces.length === 1 ? pieces[0]!.promise : joined(pieces);
  }

  /** Takes nothing more; resolves when what waits is settled. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  /** Gives up what waits: nobody knows whether the batch under way was appended. */
  abandon(): void {
    this.#closed = true;
    this.#parts.connection.close();
  }

  async #run(): Promise<void> {
    // what is appended in this turn of the event loop goes along
    await new Promise<void>(resolve => this.#parts.clock.soon(resolve));
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch();
      try {
        await this.#send(batch);
      } catch (error) {
        this.#settled(batch);
        for (const waiting of batch) {
          waiting.call.failed = true;
          waiting.reject(error);
        }
      }
    }
    this.#running = undefined;
  }

  #takeBatch(): Waiting[] {
    let records = 0;
    let bytes = 0;
    let count = 0;
    for (; count < this.#queue.length; count++) {
      const waiting = this.#queue[count]!;
      records += waiting.messages.length;
      bytes += waiting.bytes;
      if (count > 0 && (records > batchRecords || bytes > batchBytes)) break;
    }
    return this.#queue.splice(0, count);
  }

  #settled(batch: readonly Waiting[]): void {
    for (const { messages, bytes } of batch) {
      this.pendingRecords -= messages.length;
      this.pendingBytes -= bytes;
    }
  }

  async #send(batch: readonly Waiting[]): Promise<void> {
    const { clock, keys, known, limits } = this.#parts;
    const args: Argument[] = [];
    const sent = batch.map(waiting => this.#encode(waiting, args));
    const number = ++this.#number;
    const answer = await this.#untilAnswered(() => [...known(), number, ...limits, ...args], keys);
    const [epoch, ...told] = answer as number[];
    const results = new Results(told);
    let until = 0;
    const settled = batch.map((waiting, i) => {
      const mine = results.take(waiting.messages, sent[i]!, this.#parts.recordBytes);
      until = Math.max(until, mine.until);
      const last = mine.results[mine.results.length - 1];
      if (last !== undefined && 'error' in last) waiting.call.failed = true;
      return mine.results;
    });
    await this.#parts.reached(epoch!, until);
    this.commits++;
    const [oldest] = batch;
    this.#parts.onCommit(
      clock.monotonic() - oldest!.since,
      results.appended,
      results.appended === 0 ? 0 : bytesOf(batch),
    );
    this.#settled(batch);
    for (const [i, waiting] of batch.entries()) waiting.resolve(settled[i]!);
  }

  /** Adds what is to be sent of an append; returns how many messages that is: those before one that is too large. */
  #encode({ call, messages }: Waiting, args: Argument[]): number {
    if (call.failed) return 0;
    for (const [i, message] of messages.entries()) {
      if (encodedBound(message) > this.#parts.recordBytes) return i;
      const { topic, id, producer, by, sequence, key, expect, end, data } = message;
      const flags = `${i === 0 ? 's' : ''}${end ? 'e' : ''}${key !== undefined && data.length === 0 ? 'd' : ''}`;
      args.push(
        packRecord(message),
        topic,
        id === undefined ? '' : `${id}\n${topic}`,
        producer === undefined ? '' : `${producer}\n${by ?? ''}`,
        sequence ?? '',
        key ?? '',
        expect ?? '',
        flags,
      );
    }
    return messages.length;
  }

  async #untilAnswered(args: () => readonly Argument[], keys: readonly string[]): Promise<unknown> {
    const { connection, clock, replicas } = this.#parts;
    const since = clock.monotonic();
    for (;;) {
      if (clock.monotonic() - since > giveUpAfter) throw unknown('Redis has not answered for ten minutes');
      try {
        const answer = await connection.ask(async redis => {
          const told = await appendScript.run(redis, keys, args());
          await replicated(redis, replicas);
          return told;
        });
        this.refused = undefined;
        return answer;
      } catch (error) {
        if (error instanceof TailraceError) throw error;
        if (connection.isClosed) throw unknown('the connection to Redis was closed meanwhile');
        if (!isPassing(error)) throw this.#refusal(error);
      }
      await new Promise<void>(resolve => clock.after(pauseAfterError, resolve));
    }
  }

  #refusal(error: unknown): TailraceError {
    const { message } = error as Error;
    this.refused = message;
    this.#parts.onError(error);
    if (/^(OOM|MISCONF) /.test(message))
      return new TailraceError('log_full', `Redis takes no writes: ${message}`, { retryAfter: 1000 });
    return new TailraceError('log_fenced', `Redis refused the append: ${message}`, { retryAfter: 5000 });
  }
}

function unknown(why: string): TailraceError {
  return new TailraceError('outcome_unknown', `${why}; publish again with the same id`, { retryAfter: 1000 });
}

function bytesOf(batch: readonly Waiting[]): number {
  let bytes = 0;
  for (const waiting of batch) bytes += waiting.bytes;
  return bytes;
}

function boundOf(messages: readonly Message[]): number {
  let bytes = 0;
  for (const message of messages) bytes += encodedBound(message);
  return bytes;
}

/** What fits into a batch each: no two of them go along in one. */
function piecesOf(messages: readonly Message[]): readonly (readonly Message[])[] {
  if (messages.length <= batchRecords) return [messages];
  const pieces: Message[][] = [];
  for (let at = 0; at < messages.length; at += batchRecords) pieces.push(messages.slice(at, at + batchRecords));
  return pieces;
}

/** One answer for all pieces: what was appended before a failure stays a result. */
async function joined(pieces: readonly Waiting[]): Promise<readonly Result[]> {
  const results: Result[] = [];
  const settled = await Promise.allSettled(pieces.map(({ promise }) => promise));
  for (const piece of settled) {
    if (piece.status === 'fulfilled') results.push(...piece.value);
    else if (results.length === 0) throw piece.reason;
    else if (!('error' in results[results.length - 1]!)) results.push({ error: piece.reason as Error });
  }
  return results;
}

/** Reads what the server told of a batch, append by append. */
class Results {
  appended = 0;
  readonly #told: readonly number[];
  #at = 0;

  constructor(told: readonly number[]) {
    this.#told = told;
  }

  /** `sent`: messages of the append that the server saw; the next was too large. */
  take(messages: readonly Message[], sent: number, recordBytes: number): { results: Result[]; until: number } {
    const results: Result[] = [];
    let until = 0;
    let failed = false;
    for (let i = 0; i < sent; i++, this.#at += 3) {
      if (failed) continue;
      const [kind, first, second] = this.#told.slice(this.#at, this.#at + 3) as [number, number, number];
      const message = messages[i]!;
      // what it was judged by may not have come through this node's tail yet
      until = Math.max(until, first);
      if (kind === outcome.appended) this.appended++;
      if (kind === outcome.appended || kind === outcome.duplicate)
        results.push({ offset: first, time: second, duplicate: kind === outcome.duplicate });
      else {
        failed = true;
        results.push({ error: refusalOf(kind, message, first) });
      }
    }
    const next = messages[sent];
    if (!failed && next !== undefined && encodedBound(next) > recordBytes)
      results.push({ error: recordTooLarge(encodedBound(next), recordBytes) });
    return { results, until };
  }
}

function refusalOf(kind: number, message: Message, offset: number): TailraceError {
  if (kind === outcome.ended) return topicEnded(message.topic, offset);
  if (kind === outcome.unexpected) return expectFailed(message, offset);
  return sequenceTooOld(message);
}
