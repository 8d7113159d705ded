import type { TailraceError } from '@tailrace/protocol';
import { type PackedBatch, PackedBatchBuilder } from '../packed-batch.ts';
import type { Entries } from './entries.ts';
import type { DeletionNote, StreamEntry } from './entry.ts';
import type { KnownLog } from './known-log.ts';
import type { Status } from './scripts/status.ts';

export interface TailedStreamParts {
  /** Key of the stream. */
  readonly key: string;
  readonly known: KnownLog;
  /** Asks the server where the log stands, over the tail's own connection. */
  readonly askStatus: () => Promise<Status>;
  /** The connection stands, or time has passed: what is known is compared with what the server says. */
  readonly onStatus: (status: Status) => Promise<void>;
  readonly onRecords: (batch: PackedBatch) => void;
  readonly onNote: (note: DeletionNote) => void;
  /** What a node wrote to find it again. */
  readonly onProbe: (said: string) => void;
  /** An entry that cannot be read; it is passed over. */
  readonly onDamage: (offset: number, error: TailraceError) => void;
  /** The server answers with an error that waiting does not mend. */
  readonly onError: (error: unknown) => void;
}

/** Bytes that are handed on at once, about. */
const handedBytes = 1024 * 1024;
/** Empty whenever somebody else may run. */
const builder = new PackedBatchBuilder();

/** What the tail follows of one log: hands on what comes of its stream. */
export class TailedStream {
  readonly key: string;
  isClosed = false;
  /** On which connection of the tail it was asked last where the log stands, and when; for the tail, as the next. */
  askedOn = -1;
  askedAt: number = Number.NEGATIVE_INFINITY;
  restsUntil: number = Number.NEGATIVE_INFINITY;
  readonly #parts: TailedStreamParts;

  constructor(parts: TailedStreamParts) {
    this.#parts = parts;
    this.key = parts.key;
  }

  /** Id of the newest entry that came. */
  get lastEntry(): string {
    return this.#parts.known.lastEntry;
  }

  close(): void {
    this.isClosed = true;
  }

  refused(error: unknown): void {
    this.#parts.onError(error);
  }

  async checkStatus(): Promise<void> {
    const { askStatus, onStatus } = this.#parts;
    await onStatus(await askStatus());
  }

  /** Takes what came; `watched`: what is done while the server is asked. */
  async take(entries: Entries, watched: (work: Promise<void>) => Promise<void>): Promise<void> {
    const { known, onRecords, onNote, onProbe } = this.#parts;
    let seen = -1;
    const hand = (): void => {
      if (seen !== -1) known.lastEntry = entries.idAt(seen);
      seen = -1;
      if (builder.size > 0) onRecords(builder.finish());
    };
    while (entries.next()) {
      if (entries.isRecord()) {
        const { bytes, start, end, offset, time, epoch } = entries;
        if (epoch !== undefined && epoch > (known.epochs.current?.epoch ?? 0)) {
          hand();
          // the server is another, or has lost something: what that means comes before its first record
          const last = known.lastEntry;
          await watched(this.checkStatus());
          if (known.lastEntry !== last || this.isClosed) return;
        }
        if (builder.size + end - start > handedBytes) hand();
        builder.add(bytes, start, end, offset, time);
      } else {
        const entry = this.#other(entries);
        if (entry?.note !== undefined) {
          hand();
          onNote(entry.note);
        }
        if (entry?.probe !== undefined) onProbe(entry.probe);
      }
      seen = entries.part;
    }
    hand();
  }

  #other(entries: Entries): StreamEntry | undefined {
    try {
      return entries.other();
    } catch (error) {
      this.#parts.onDamage(Number.parseInt(entries.idAt(entries.part), 10), error as TailraceError);
      return undefined;
    }
  }
}
