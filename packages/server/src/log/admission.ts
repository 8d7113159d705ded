import { type FilterSet, type Message, TailraceError } from '@tailrace/protocol';
import type { Clock } from './clock.ts';
import { currentOf, type NewestByTopic } from './current.ts';
import { type Append, HeldAppends } from './held-appends.ts';
import { encodedBound, Intake } from './intake.ts';
import { KeyIndex } from './key-index.ts';
import type { Appended, AppendFailure, Current, Log, LogMemory, Position } from './log.ts';
import { type CommonLogOptions, logDefaults } from './options.ts';
import type { StoredDurability } from './record.ts';
import type { RecordBatch } from './record-batch.ts';
import { type Tables, tablesOf } from './tables.ts';

/** What waits for its commit. */
export interface Pending {
  readonly pendingRecords: number;
  readonly pendingBytes: number;
}

/** What is in front of the commits of every log: no more waits than may, keys are read before they are compared. */
export class Admission {
  readonly intake: Intake;
  readonly held: HeldAppends;
  readonly tables: Tables;
  readonly #log: Pick<Log, 'head' | 'floor' | 'hot' | 'read'>;
  readonly #append: Append;
  readonly #keys: KeyIndex;
  readonly #bytesMax: number;
  readonly #recordsMax: number;
  /** The newest offset given out. */
  readonly #appended = (): number => this.intake.nextOffset - 1;

  constructor(
    log: Pick<Log, 'head' | 'floor' | 'hot' | 'read'>,
    options: CommonLogOptions,
    clock: Clock,
    append: Append,
  ) {
    this.#log = log;
    this.#append = append;
    this.tables = tablesOf(options.keep?.rules ?? []);
    this.#keys = new KeyIndex(log, options.keyIndexBytes ?? logDefaults.keyIndexBytes);
    this.intake = new Intake(options, clock, this.#keys, log.head.offset, log.head.time);
    this.held = new HeldAppends({
      index: this.#keys,
      head: () => log.head.offset,
      appended: this.#appended,
      append,
    });
    this.#bytesMax = options.pending?.bytes ?? logDefaults.pending.bytes;
    this.#recordsMax = options.pending?.records ?? logDefaults.pending.records;
  }

  get memory(): LogMemory {
    return this.intake.memory;
  }

  /** Hot. */
  append(
    messages: readonly Message[],
    durability: StoredDurability,
    pending: Pending,
  ): Promise<readonly (Appended | AppendFailure)[]> {
    const { held } = this;
    let bytes = 0;
    let expects = false;
    for (let i = 0; i < messages.length; i++) {
      bytes += encodedBound(messages[i]!);
      expects ||= messages[i]!.expect !== undefined;
    }
    const waiting = pending.pendingRecords + held.records;
    if (
      waiting > 0 &&
      (pending.pendingBytes + held.bytes + bytes > this.#bytesMax || waiting + messages.length > this.#recordsMax)
    )
      return Promise.reject(
        new TailraceError('overloaded', `${waiting} records wait for their commit`, { retryAfter: 100 }),
      );
    if ((expects || held.records > 0) && held.mustHold(messages)) return held.hold(messages, durability, bytes);
    return this.#append(messages, durability, bytes);
  }

  /** The batch is committed, and the log's head is its last. Hot. */
  committed(batch: RecordBatch): void {
    this.intake.dedupe.commit(batch.last);
    this.#keys.committed(batch);
  }

  /** See `Log.current`. */
  current(filters: FilterSet, to: Position | undefined, newest: NewestByTopic): Promise<Current> {
    const parts = { log: this.#log, tables: this.tables, index: this.#keys, appended: this.#appended, newest };
    return currentOf(parts, filters, to);
  }

  /** See `Log.keyAt`. */
  keyAt(topic: string, key: string): Promise<number> {
    return this.#keys.committedOf(topic, key, this.#appended());
  }
}
