import type { TailraceError } from '@tailrace/protocol';
import type { Clock } from '../../log/clock.ts';
import type { PackedRecord } from '../packed-record.ts';
import { answerTimeout, isPassing, type RedisConnection } from './connection.ts';
import { type DeletionNote, readEntry, type StreamEntry } from './entry.ts';
import type { KnownLog } from './known-log.ts';
import type { Status } from './scripts/status.ts';

export interface TailParts {
  readonly connection: RedisConnection;
  readonly clock: Clock;
  /** Key of the stream. */
  readonly stream: string;
  readonly known: KnownLog;
  /** Asks the server where the log stands, over the tail's own connection. */
  readonly askStatus: () => Promise<Status>;
  /** The connection stands, or time has passed: what is known is compared with what the server says. */
  readonly onStatus: (status: Status) => Promise<void>;
  readonly onRecords: (records: readonly PackedRecord[]) => void;
  readonly onNote: (note: DeletionNote) => void;
  /** What a node wrote to find it again. */
  readonly onProbe: (said: string) => void;
  /** An entry that cannot be read; it is passed over. */
  readonly onDamage: (offset: number, error: TailraceError) => void;
  /** The server answers with an error that waiting does not mend. */
  readonly onError: (error: unknown) => void;
}

/** How long the server holds a read of which there is nothing yet, ms. */
export const blockMs = 2000;
/** How often what is known is compared with the server while records come, ms. */
const statusEvery = 5000;
/** Entries of one read: at the head few come at once; who is behind takes more with each read. */
const countAtHead = 512;
const countMost = 8192;
/** Bytes of one read, about, and of what is handed on at once: records may be of many megabytes. */
const readBytes = 8 * 1024 * 1024;
const handedBytes = 1024 * 1024;
const pauseAfterError = 200;

/**
 * The one reader of this node: follows the stream from entry to entry. Before it reads on a new connection it asks where the
 * log stands, since a read that waits beyond a head that went back would be silent for ever.
 */
export class Tail {
  readonly #parts: TailParts;
  #closed = false;
  #count = countAtHead;
  #statusAt = 0;
  #connection = 0;
  #answeredAt: number;
  #stopWatch: () => void = () => {};

  constructor(parts: TailParts) {
    this.#parts = parts;
    this.#answeredAt = parts.clock.monotonic();
    parts.connection.redis.on('close', () => this.#connection++);
  }

  /** Follows until `close`. */
  async run(): Promise<void> {
    const { connection } = this.#parts;
    let asked = -1;
    while (!this.#closed) {
      try {
        await connection.ready();
        if (asked !== this.#connection || this.#parts.clock.monotonic() - this.#statusAt >= statusEvery) {
          const during = this.#connection;
          await this.checkStatus();
          asked = during;
        }
        // lost between the answer and now: a new connection is asked first
        if (asked !== this.#connection) continue;
        await this.#read();
      } catch (error) {
        if (this.#closed) return;
        if (!isPassing(error)) this.#parts.onError(error);
        asked = -1;
        // so many large records may have been more than comes within the time
        this.#count = 1;
        await new Promise<void>(resolve => this.#parts.clock.after(pauseAfterError, resolve));
      }
    }
  }

  /** How long the server has been silent to this reader, ms: a read that finds nothing is answered too. */
  get silence(): number {
    return this.#parts.clock.monotonic() - this.#answeredAt;
  }

  close(): void {
    this.#closed = true;
    this.#stopWatch();
  }

  async checkStatus(): Promise<void> {
    this.#watch(answerTimeout);
    try {
      await this.#parts.onStatus(await this.#parts.askStatus());
    } finally {
      this.#stopWatch();
    }
    this.#statusAt = this.#parts.clock.monotonic();
  }

  async #read(): Promise<void> {
    const { connection, stream, known } = this.#parts;
    const before = this.#connection;
    this.#watch(blockMs + answerTimeout);
    let answer: unknown;
    try {
      answer = await connection.redis.callBuffer(
        'XREAD',
        'COUNT',
        this.#count,
        'BLOCK',
        blockMs,
        'STREAMS',
        stream,
        known.lastEntry,
      );
    } finally {
      this.#stopWatch();
    }
    if (this.#closed || before !== this.#connection) return;
    this.#answeredAt = this.#parts.clock.monotonic();
    if (answer === null) {
      // silence is when a lost stream shows least
      this.#statusAt = Number.NEGATIVE_INFINITY;
      return;
    }
    const [[, entries]] = answer as [[Buffer, unknown[]]];
    this.#count = countAfter(entries, this.#count);
    await this.#take(entries);
  }

  async #take(entries: readonly unknown[]): Promise<void> {
    const { known, onRecords, onNote, onProbe } = this.#parts;
    let records: PackedRecord[] = [];
    let bytes = 0;
    let seen: Buffer | undefined;
    const hand = (): void => {
      if (seen !== undefined) known.lastEntry = seen.toString('latin1');
      seen = undefined;
      if (records.length > 0) onRecords(records);
      records = [];
      bytes = 0;
    };
    for (const raw of entries) {
      const entry = this.#entry(raw);
      if (entry === undefined) {
        seen = idOf(raw);
        continue;
      }
      const { record, epoch, note, probe, id } = entry;
      if (epoch !== undefined && epoch > (known.epochs.current?.epoch ?? 0)) {
        hand();
        // the server is another, or has lost something: what that means comes before its first record
        const last = known.lastEntry;
        await this.checkStatus();
        if (known.lastEntry !== last) return;
      }
      if (record !== undefined) {
        if (bytes + record.bytes.length > handedBytes) hand();
        records.push(record);
        bytes += record.bytes.length;
      }
      if (note !== undefined) {
        hand();
        onNote(note);
      }
      if (probe !== undefined) onProbe(probe);
      seen = id;
    }
    hand();
  }

  #entry(raw: unknown): StreamEntry | undefined {
    try {
      return readEntry(raw);
    } catch (error) {
      this.#parts.onDamage(Number.parseInt(idOf(raw).toString('latin1'), 10), error as TailraceError);
      return undefined;
    }
  }

  /** A connection that is silent for longer than the server may be is dead, whatever TCP says. */
  #watch(ms: number): void {
    this.#stopWatch = this.#parts.clock.after(ms, () => this.#parts.connection.renew());
  }
}

/** How many entries to ask for next: more while there are as many, and no more of those sizes than `readBytes`. */
function countAfter(entries: readonly unknown[], asked: number): number {
  let bytes = 1;
  for (const [, fields] of entries as readonly [Buffer, Buffer[]][]) for (const { length } of fields) bytes += length;
  const fits = Math.max(1, Math.floor((readBytes * entries.length) / bytes));
  return Math.min(fits, entries.length === asked ? Math.min(countMost, asked * 2) : countAtHead);
}

function idOf(entry: unknown): Buffer {
  return (entry as [Buffer])[0];
}
