import { JetStreamApiError, type PubAck } from '@nats-io/jetstream';
import { headers, type MsgHdrs } from '@nats-io/transport-node';
import { TailraceError } from '@tailrace/protocol';
import { systemClock } from '../../log/clock.ts';
import type { Random } from '../../log/random.ts';
import type { NewEntry, PartitionState } from '../broker-partition.ts';
import { isFull, isPassing, isWrongSequence, lastSequenceOf } from './api-errors.ts';
import { answerTimeout, hasNoResponders, type KeptConnection, type Line } from './connection.ts';
import { encodeEntry } from './entry.ts';
import type { Names } from './names.ts';
import type { Seen } from './seen.ts';

export interface AppendsParts {
  readonly connection: KeptConnection;
  readonly names: Names;
  readonly seen: Seen;
  readonly random: Random;
  /** Asks where the stream stands and tells who follows it. */
  readonly askState: (line: Line) => Promise<PartitionState>;
  /** A batch of few is slower than one after the other: the server opens a file for it when it has no replicas. */
  readonly batchLeast: () => number;
}

/** One call of `append`. */
interface Call {
  readonly offsets: number[];
  readonly count: number;
  readonly resolve: (offsets: readonly number[]) => void;
  readonly reject: (error: Error) => void;
  isSettled: boolean;
}

interface Item {
  readonly data: Buffer;
  readonly call: Call;
}

/** The server takes 1,000. */
const batchEntries = 500;
const batchBytes = 4 * 1024 * 1024;
const pauseAfterError = 100;
const writerLength = 10;

/**
 * Appends of one node, in order and each once. They form a chain: each names the sequence of the one before it under the
 * node's own subject, and the server refuses it when something else is the newest there. So a repetition of what is there
 * already tells where it is, and one that comes late over a connection given up long ago does nothing, whenever that is.
 * Several entries go as one atomic batch, of which the server takes all or none.
 */
export class Appends {
  readonly #parts: AppendsParts;
  readonly #queue: Item[] = [];
  #subject = '';
  /** Sequence of the newest message under the subject, 0 for none. */
  #last = 0;
  #running: Promise<void> | undefined;
  #isRunning = false;
  #asked: Line | undefined;
  #closed = false;

  constructor(parts: AppendsParts) {
    this.#parts = parts;
    this.#beginChain();
  }

  append(entries: readonly NewEntry[]): Promise<readonly number[]> {
    if (this.#closed) return Promise.reject(unavailable('it is closed'));
    if (entries.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const call: Call = { offsets: [], count: entries.length, resolve, reject, isSettled: false };
      for (const entry of entries) this.#queue.push({ data: encodeEntry(entry), call });
      if (!this.#isRunning) this.#running = this.#run();
    });
  }

  /** Asks for what the server must refuse, by which it shows that it would take what is right. */
  async probe({ nats }: Line): Promise<void> {
    const expected = headers();
    expected.set('Nats-Expected-Last-Subject-Sequence', '1');
    const subject = this.#parts.names.subjectOf('probe');
    const answer = await nats.request(subject, '', { headers: expected, timeout: answerTimeout });
    const { error } = answer.json<{ error?: { code: number; err_code: number; description: string } }>();
    if (error === undefined || !isWrongSequence(error.err_code))
      throw new Error(`NATS answers a probe with ${error?.description}`);
  }

  /** What waits is rejected. The connection has to be closed, too. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#queue.length > 0) {
      const batch = this.#take();
      if (batch.length === 0) continue;
      try {
        const last = await this.#commit(batch.map(({ data }) => data));
        this.#last = last;
        this.#parts.seen.reached(last);
        for (const [i, { call }] of batch.entries()) settle(call, last - batch.length + 1 + i);
      } catch (error) {
        for (const { call } of batch) fail(call, error as Error);
      }
    }
    this.#isRunning = false;
  }

  #take(): readonly Item[] {
    let count = 0;
    for (let bytes = 0; count < Math.min(this.#queue.length, batchEntries); count++) {
      bytes += this.#queue[count]!.data.length;
      if (bytes > batchBytes && count > 0) break;
    }
    if (count < this.#parts.batchLeast()) count = 1;
    // what follows an entry that failed in the same call must not come without it
    return this.#queue.splice(0, count).filter(({ call }) => !call.isSettled);
  }

  /** Resolves with the sequence of the last entry of the batch; the others are just before it. */
  async #commit(batch: readonly Buffer[]): Promise<number> {
    const { connection, seen } = this.#parts;
    let isUncertain = false;
    let headBefore: number | undefined;
    for (;;) {
      if (this.#closed) throw isUncertain ? this.#unknown('the server went down') : unavailable('it is closed');
      try {
        const line = await connection.ready();
        await this.#askOnce(line);
        headBefore ??= seen.offset;
        return await connection
          .askOn(line, () => this.#send(line, batch))
          .catch(error => {
            isUncertain ||= isWithoutAnswer(error);
            throw error;
          });
      } catch (error) {
        this.#asked = undefined;
        const found = lastSequenceOf(error);
        if (found !== undefined && found > this.#last && isUncertain) return await this.#appendedBefore(found, batch);
        if (found !== undefined) {
          await this.#lookBehind(headBefore ?? 0, isUncertain);
          continue;
        }
        if (!isPassing(error)) throw isUncertain ? this.#unknown((error as Error).message) : refusalOf(error);
      }
      await this.#pause();
    }
  }

  /** Over a new connection, and after whatever failed, the server is asked first where the stream stands. */
  async #askOnce(line: Line): Promise<void> {
    if (this.#asked === line) return;
    await this.#parts.askState(line);
    this.#asked = line;
  }

  async #send({ nats }: Line, batch: readonly Buffer[]): Promise<number> {
    const id = batch.length === 1 ? undefined : this.#parts.random.id(writerLength);
    const headersAt = (i: number): MsgHdrs => {
      const these = headers();
      if (i === 0) these.set('Nats-Expected-Last-Subject-Sequence', String(this.#last));
      if (id === undefined) return these;
      these.set('Nats-Batch-Id', id);
      these.set('Nats-Batch-Sequence', String(i + 1));
      if (i === batch.length - 1) these.set('Nats-Batch-Commit', '1');
      return these;
    };
    const last = batch.length - 1;
    for (let i = 0; i < last; i++) nats.publish(this.#subject, batch[i], { headers: headersAt(i) });
    const options = { headers: headersAt(last), timeout: answerTimeout * 2 };
    const answer = await nats.request(this.#subject, batch[last], options);
    const { error, seq } = answer.json<PubAck & { error?: { code: number; err_code: number; description: string } }>();
    if (error !== undefined) throw new JetStreamApiError(error);
    return seq;
  }

  /** What was sent before is there. A server that was killed in the middle of a batch may have a part of it. */
  async #appendedBefore(found: number, batch: readonly Buffer[]): Promise<number> {
    if (batch.length === 1) return found;
    const { connection, names } = this.#parts;
    const message = await connection.ask(({ jetstream }) => jetstream.streams.getMessage(names.stream, { seq: found }));
    if (message?.header.get('Nats-Batch-Sequence') === String(batch.length)) return found;
    throw this.#unknown('it has a part of what was sent, or none any more');
  }

  /** The newest message of the chain is not where it was: it was trimmed, or the server has lost it. */
  async #lookBehind(headBefore: number, isUncertain: boolean): Promise<void> {
    const { connection, askState } = this.#parts;
    const { floor } = await connection.ask(line => askState(line));
    // then what was sent may have been appended and trimmed again
    if (isUncertain && floor > headBefore) throw this.#unknown('its place in the log was trimmed');
    this.#beginChain();
  }

  /** What was sent under the old subject and may still come can do nothing to what is appended from now. */
  #beginChain(): void {
    this.#subject = this.#parts.names.subjectOf(this.#parts.random.id(writerLength));
    this.#last = 0;
  }

  #unknown(why: string): TailraceError {
    this.#beginChain();
    return new TailraceError('outcome_unknown', `NATS did not answer, and ${why}; publish again with the same id`, {
      retryAfter: 1000,
    });
  }

  #pause(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise(resolve => systemClock.after(pauseAfterError, resolve));
  }
}

function settle(call: Call, offset: number): void {
  call.offsets.push(offset);
  if (call.offsets.length < call.count || call.isSettled) return;
  call.isSettled = true;
  call.resolve(call.offsets);
}

function fail(call: Call, error: Error): void {
  if (call.isSettled) return;
  call.isSettled = true;
  call.reject(
    call.offsets.length === 0
      ? error
      : new TailraceError('outcome_unknown', `a part was appended, and then: ${error.message}`, { retryAfter: 1000 }),
  );
}

/** The server may have done what it was asked. */
function isWithoutAnswer(error: unknown): boolean {
  return !(error instanceof JetStreamApiError) && !hasNoResponders(error);
}

function refusalOf(error: unknown): TailraceError {
  const { message } = error as Error;
  return isFull(error)
    ? new TailraceError('log_full', `NATS takes no entries: ${message}`, { retryAfter: 1000 })
    : new TailraceError('engine_unavailable', `NATS refused the append: ${message}`, { retryAfter: 5000 });
}

function unavailable(why: string): TailraceError {
  return new TailraceError('engine_unavailable', `the log in NATS takes nothing: ${why}`, { retryAfter: 1000 });
}
