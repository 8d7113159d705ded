import { filterSet } from '@tailrace/protocol';
import { Gate } from './disk/read/gate.ts';
import type { Log } from './log.ts';
import type { LogRecord } from './record.ts';
import type { RecordBatch } from './record-batch.ts';

type IndexedLog = Pick<Log, 'head' | 'floor' | 'read'>;

/** Bytes of records read at a time to learn the keys of a topic. */
const loadBytes = 1024 * 1024;
/** What a key takes beside its text, about; and a table beside its keys. */
const entryBytes = 80;
const tableBytes = 512;
/** Topics whose keys are read at once: what is read is not in the budget yet. */
const loadsMax = 2;
/** Stands for the records without a key: no key is empty. */
const noKey = '';

/**
 * The newest record of each key of one topic. Deleted keys are not in it. What waits for its commit is kept apart, so that
 * it can be taken back.
 *
 *      log          ──────────────┬──────────────┬────────►
 *                    #newest       ▲ #sinceLoad   ▲ #pending
 *                             load began        head
 */
export class Table {
  readonly topic: string;
  /** Who reads it now: it is not dropped before they are done. */
  users = 0;
  loaded = false;
  /** Of what it holds of committed records, about. */
  bytes: number;
  /** Appends up to here were made before the table came to be, and are in it once they are committed. */
  complete: number;
  loading: Promise<void> | undefined;
  /** Records up to here are deleted. */
  #deletedTo = 0;
  readonly #newest = new Map<string, number>();
  // of appended records, negative when they delete
  readonly #pending = new Map<string, number>();
  readonly #sinceLoad = new Map<string, number>();

  constructor(topic: string, complete: number) {
    this.topic = topic;
    this.complete = complete;
    this.bytes = tableBytes + topic.length * 2;
  }

  get keys(): number {
    return this.#newest.size;
  }

  /** Offset of the newest record of the key, appended or committed; 0 when there is none or it deletes the key. */
  newestOf(key: string, floor: number): number {
    const offset = this.#pending.get(key) ?? this.#newest.get(key) ?? 0;
    return offset > floor ? offset : 0;
  }

  /** The same of committed records only. */
  committedOf(key: string, floor: number): number {
    const offset = this.#newest.get(key) ?? 0;
    return offset > floor ? offset : 0;
  }

  /** Offsets of the newest committed record of each key, in (`floor`, `to`], in no order. */
  offsets(floor: number, to: number): number[] {
    const found: number[] = [];
    for (const [key, offset] of this.#newest) {
      if (offset <= floor) this.#forget(key);
      else if (offset <= to) found.push(offset);
    }
    return found;
  }

  appended(key: string, offset: number, deletes: boolean): void {
    this.#pending.set(key, deletes ? -offset : offset);
  }

  committed(record: LogRecord): void {
    const key = record.key ?? noKey;
    if (Math.abs(this.#pending.get(key) ?? 0) === record.offset) this.#pending.delete(key);
    if (this.loaded) this.#put(key, signedOffset(record));
    else this.#sinceLoad.set(key, signedOffset(record));
  }

  /** Takes a record that was there before the table. */
  read(record: LogRecord): void {
    if (record.offset > this.#deletedTo) this.#put(record.key ?? noKey, signedOffset(record));
  }

  deleted(upTo: number): void {
    this.#deletedTo = upTo;
    for (const [key, offset] of this.#newest) if (offset <= upTo) this.#forget(key);
    for (const [key, offset] of this.#sinceLoad) if (Math.abs(offset) <= upTo) this.#sinceLoad.delete(key);
  }

  readToEnd(): void {
    for (const [key, offset] of this.#sinceLoad) this.#put(key, offset);
    this.#sinceLoad.clear();
    this.loaded = true;
  }

  /** What was appended above `head` was not appended after all. */
  rollback(head: number): void {
    this.#pending.clear();
    this.complete = Math.min(this.complete, head);
  }

  #put(key: string, offset: number): void {
    if (offset < 0) this.#forget(key);
    else {
      if (!this.#newest.has(key)) this.bytes += key.length * 2 + entryBytes;
      this.#newest.set(key, offset);
    }
  }

  #forget(key: string): void {
    if (this.#newest.delete(key)) this.bytes -= key.length * 2 + entryBytes;
  }
}

function signedOffset({ key, data, offset }: LogRecord): number {
  return key !== undefined && data.length === 0 ? -offset : offset;
}

/**
 * Topic → key → newest offset, for the topics whose keys somebody asked for lately. A table is made from the records of its
 * topic when it is first asked for, follows each commit, and is dropped when others have been used since and the room is
 * needed. One that is larger than all the room is made for who asks, and dropped when they are done.
 */
export class KeyIndex {
  /** Of the tables that are there. */
  bytes = 0;
  /** Tables made so far: one that is made again and again has not enough room. */
  loads = 0;
  readonly #log: IndexedLog;
  readonly #maxBytes: number;
  readonly #gate = new Gate(loadsMax);
  // in order of their last use
  readonly #byTopic = new Map<string, Table>();

  constructor(log: IndexedLog, maxBytes: number) {
    this.#log = log;
    this.#maxBytes = maxBytes;
  }

  get floor(): number {
    return this.#log.floor;
  }

  /** The tables there are take more than they may: who can do without one gives it back. */
  get overfull(): boolean {
    return this.bytes > this.#maxBytes;
  }

  get tables(): number {
    return this.#byTopic.size;
  }

  /** The table, when it says what every append up to now did; it may be gone in the next turn of the event loop. */
  ready(topic: string): Table | undefined {
    const table = this.#byTopic.get(topic);
    if (table === undefined || !table.loaded || table.complete > this.#log.head.offset) return undefined;
    this.#byTopic.delete(topic);
    this.#byTopic.set(topic, table);
    return table;
  }

  /** The table, which stays until `release`; `loading` tells when it is whole. `appended`: the newest offset given out. */
  use(topic: string, appended: number): Table {
    let table = this.#byTopic.get(topic);
    if (table === undefined) {
      table = new Table(topic, appended);
      this.#byTopic.set(topic, table);
      this.bytes += table.bytes;
      const made = table;
      table.loading = this.#gate.run(() => this.#load(made));
      // who uses the table waits for it, and may be gone by then
      table.loading.catch(() => undefined);
    }
    table.users++;
    return table;
  }

  release(table: Table): void {
    table.users--;
    this.#fit();
  }

  /** Offset of the newest committed record of a key, 0 when there is none or it deletes the key. */
  async committedOf(topic: string, key: string, appended: number): Promise<number> {
    const table = this.use(topic, appended);
    try {
      await table.loading;
      return table.committedOf(key, this.#log.floor);
    } finally {
      this.release(table);
    }
  }

  /** An append of a message with a key has been taken. Hot. */
  appended(topic: string, key: string, offset: number, deletes: boolean): void {
    if (this.#byTopic.size > 0) this.#byTopic.get(topic)?.appended(key, offset, deletes);
  }

  /** Hot. */
  committed(batch: RecordBatch): void {
    if (this.#byTopic.size === 0) return;
    const { topics } = batch;
    for (let t = 0; t < topics.names.length; t++) {
      const table = this.#byTopic.get(topics.names[t]!);
      if (table === undefined) continue;
      const before = table.bytes;
      for (let i = topics.firstOf(t); i !== -1; i = topics.after(i)) table.committed(batch.record(i));
      this.bytes += table.bytes - before;
    }
    if (this.bytes > this.#maxBytes) this.#fit();
  }

  /** The records of a topic with offset ≤ `upTo` are deleted. */
  deleted(topic: string, upTo: number): void {
    const table = this.#byTopic.get(topic);
    if (table === undefined) return;
    const before = table.bytes;
    table.deleted(upTo);
    this.bytes += table.bytes - before;
  }

  /** Forgets all tables; who reads one now keeps what it has. */
  clear(): void {
    this.#byTopic.clear();
    this.bytes = 0;
  }

  rollback(head: number): void {
    for (const table of this.#byTopic.values()) table.rollback(head);
  }

  async #load(table: Table): Promise<void> {
    this.loads++;
    const filters = filterSet([table.topic]);
    const to = this.#log.head.offset;
    try {
      for (let at = this.#log.floor; at < to; ) {
        const slice = await this.#log.read(at, to, filters, loadBytes);
        this.#change(table, () => {
          for (const record of slice.records) table.read(record);
        });
        at = slice.next;
      }
      this.#change(table, () => table.readToEnd());
    } catch (error) {
      this.#drop(table);
      throw error;
    }
  }

  /** One that has been forgotten meanwhile counts no more. */
  #change(table: Table, change: () => void): void {
    const before = table.bytes;
    change();
    if (this.#byTopic.get(table.topic) === table) this.bytes += table.bytes - before;
  }

  #fit(): void {
    if (this.bytes <= this.#maxBytes) return;
    // a table that cannot stay must not drive out those that can
    for (const table of this.#byTopic.values())
      if (this.#canGo(table) && table.bytes > this.#maxBytes) this.#drop(table);
    for (const table of this.#byTopic.values()) {
      if (this.bytes <= this.#maxBytes) return;
      if (this.#canGo(table)) this.#drop(table);
    }
  }

  #canGo({ users, loaded }: Table): boolean {
    return users === 0 && loaded;
  }

  #drop(table: Table): void {
    if (this.#byTopic.get(table.topic) !== table) return;
    this.#byTopic.delete(table.topic);
    this.bytes -= table.bytes;
  }
}
