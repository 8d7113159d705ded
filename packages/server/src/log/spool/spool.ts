import { filterSet, isTailraceError, type Message, TailraceError } from '@tailrace/protocol';
import type { Clock } from '../clock.ts';
import type { Appended, AppendFailure, Log } from '../log.ts';
import type { LogRecord, StoredDurability } from '../record.ts';
import type { LogReport } from '../report.ts';

export interface SpoolParts {
  /** On a disk of this node: what waits. */
  readonly store: Log;
  /** The shared log. */
  readonly engine: Log;
  readonly clock: Clock;
  /** Most that may wait, bytes. */
  readonly bytesMax: number;
  /** Up to where the store was shipped, as far as the last run wrote it down; 0 when it never did. */
  readonly shippedTo: number;
  /** Writes that down. What is shipped again after a crash is a duplicate there. */
  readonly onShipped: (offset: number) => Promise<void>;
  readonly onReport: (report: LogReport) => void;
}

const everything = filterSet(['#']);
/** Of one append to the shared log. */
const batchBytes = 256 * 1024;
const pauseAfterError = 1000;

/**
 * Takes messages while the server behind a shared log is away, and appends them there once it is back: a log of this node
 * and a cursor on it. What it ships has this spool as its producer and the offset here as its sequence, so that the shared
 * log knows what it has already, however often that is sent.
 *
 *   publish ──► store ──(cursor)──► engine
 */
export class Spool {
  /** Messages that the engine has taken, and that it will not take whenever it is asked. */
  shipped = 0;
  refused = 0;
  readonly #parts: SpoolParts;
  #shippedTo: number;
  #closed = false;
  #wake: () => void = () => {};
  #running: Promise<void> | undefined;
  readonly #untail: () => void;

  constructor(parts: SpoolParts) {
    this.#parts = parts;
    this.#shippedTo = Math.max(parts.shippedTo, parts.store.floor);
    this.#untail = parts.store.tail({ onCommit: () => this.#wake() });
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Messages that wait. */
  get waiting(): number {
    return Math.max(0, this.#parts.store.head.offset - this.#shippedTo) + this.#parts.store.status.pendingRecords;
  }

  get bytes(): number {
    return this.#parts.store.status.bytes;
  }

  /** Resolves when they are on this node's disk. Rejects with `log_full` when too much waits already, and as `Log.append` does. */
  append(messages: readonly Message[], durability: StoredDurability): Promise<readonly (Appended | AppendFailure)[]> {
    if (this.waiting > 0 && this.bytes > this.#parts.bytesMax)
      return Promise.reject(
        new TailraceError(
          'log_full',
          'the engine is away, and what waits for it on this node is as much as spool.bytes',
          {
            retryAfter: 5000,
          },
        ),
      );
    return this.#parts.store.append(messages, durability);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#running;
    this.#untail();
    await this.#parts.store.close();
  }

  async #run(): Promise<void> {
    const { store, onReport } = this.#parts;
    let told = '';
    while (!this.#closed) {
      if (this.#shippedTo >= store.head.offset) {
        if (told !== '')
          onReport({
            level: 'info',
            kind: 'spool_empty',
            message: 'everything that waited on this node has been shipped',
          });
        told = '';
        await this.#awake();
        continue;
      }
      if (told === '') {
        told = 'messages wait on the disk of this node until the engine takes them';
        onReport({ level: 'warn', kind: 'spool_waits', message: told });
      }
      try {
        const { records, next } = await store.read(this.#shippedTo, store.head.offset, everything, batchBytes);
        await this.#ship(records);
        this.#shippedTo = next;
        await this.#parts.onShipped(next);
        await store.trim(next);
      } catch (error) {
        const why = (error as Error).message;
        if (why !== told && !this.#closed)
          onReport({
            level: 'warn',
            kind: 'spool_waits',
            message: `${this.waiting} messages wait on this node until the engine takes them: ${why}`,
          });
        told = why;
        await this.#awake(pauseAfterError);
      }
    }
  }

  async #ship(records: readonly LogRecord[]): Promise<void> {
    const producer = `$spool-${this.#parts.store.id}`;
    for (let at = 0; at < records.length; ) {
      const rest = records.slice(at);
      const results = await this.#parts.engine.append(
        rest.map(record => messageOf(record, producer)),
        'fsync',
      );
      for (const result of results) {
        const record = records[at++]!;
        if (!('error' in result)) this.shipped++;
        else if (!isFinal(result.error)) throw result.error;
        else this.#giveUp(record, result.error);
      }
      if (results.length === 0) throw new Error('the engine took nothing');
    }
  }

  /** The engine will not take it, whenever it is asked. */
  #giveUp(record: LogRecord, error: Error): void {
    // one of ours that is that old was shipped before what it is older than
    if (isTailraceError(error) && error.code === 'sequence_too_old' && record.producer === undefined) return;
    this.refused++;
    this.#parts.onReport({
      level: 'error',
      kind: 'spool_refused',
      message: `a message of ${record.topic} that was taken while the engine was away cannot be published: ${error.message}`,
    });
  }

  /** Resolves when something comes, when it is closed, or after `ms`. */
  async #awake(ms?: number): Promise<void> {
    if (this.#closed) return;
    let stop = (): void => {};
    await new Promise<void>(resolve => {
      this.#wake = resolve;
      if (ms !== undefined) stop = this.#parts.clock.after(ms, resolve);
    });
    this.#wake = () => {};
    stop();
  }
}

/** Refusals that say something of the message and not of the moment. */
function isFinal(error: Error): boolean {
  return (
    isTailraceError(error) &&
    ['topic_ended', 'sequence_too_old', 'payload_too_large', 'expect_failed'].includes(error.code)
  );
}

function messageOf(record: LogRecord, producer: string): Message {
  const { topic, data, contentType, event, id, key, headers, by, end } = record;
  const own = record.producer !== undefined;
  return {
    ...{ topic, data, contentType, event, id, key, headers, by, end },
    producer: own ? record.producer : producer,
    sequence: own ? record.sequence : record.offset,
    expect: undefined,
    durability: undefined,
  };
}
