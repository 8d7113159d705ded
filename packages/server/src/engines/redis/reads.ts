import { type FilterSet, TailraceError } from '@tailrace/protocol';
import type { Clock } from '../../log/clock.ts';
import type { Deletions } from '../../log/deletions.ts';
import { Gate } from '../../log/disk/read/gate.ts';
import { type HotTail, recordsHeld } from '../../log/hot-tail.ts';
import type { Slice, TopicInfo } from '../../log/log.ts';
import type { LogRecord } from '../../log/record.ts';
import { type PackedRecord, packedTopic, unpackRecord } from '../packed-record.ts';
import { isPassing, type RedisConnection } from './connection.ts';
import { readEntry } from './entry.ts';
import type { Keys } from './keys.ts';
import type { KnownLog } from './known-log.ts';
import { firstSince, readAt, readBackward, readForward } from './scripts/read.ts';
import type { Script } from './scripts/script.ts';

export interface ReadsParts {
  readonly connection: RedisConnection;
  readonly clock: Clock;
  readonly keys: Keys;
  readonly known: KnownLog;
  readonly hot: HotTail;
  readonly deletions: Deletions;
}

type Argument = string | number | Buffer;

/** Reads that are under way at once on this node, however many subscribers ask. */
const readsMax = 2;
/** Entries of one page: few for who wants few, more with each page that follows. */
const pageFirst = 128;
const pageMost = 2048;
/** Names of topics asked for at once. */
const scanCount = 1000;
const attemptsMost = 3;
const pauseAfterError = 200;

/** Reads what is not in this node's memory: by range, filtered here. */
export class Reads {
  readonly #parts: ReadsParts;
  readonly #gate = new Gate(readsMax);

  constructor(parts: ReadsParts) {
    this.#parts = parts;
  }

  /** See `Log.read`, for (`after`, `to`] within floor and head. */
  async read(after: number, to: number, filters: FilterSet, maxBytes: number): Promise<Omit<Slice, 'dropped'>> {
    const { known, hot } = this.#parts;
    let from = after;
    const records: LogRecord[] = [];
    let bytes = 0;
    let next = after;
    let time: number | undefined;
    for (let page = pageFirst; next < to; page = Math.min(pageMost, page * 2)) {
      // what memory holds of the rest is the same
      if (next >= hot.base && records.length === 0) {
        next = hot.read(next, to, filters, maxBytes, records);
        return { after: from, records, next, time: hot.timeAt(next) ?? known.time };
      }
      const { floor, packed, isLast } = await this.#page(readForward, next + 1, to, page);
      if (floor > next && packed[0]?.offset !== next + 1) {
        // what was trimmed meanwhile is told, unless something stands before it
        if (records.length > 0) break;
        next = Math.min(Math.max(next, floor), to);
        from = next;
        if (packed.length === 0 && next >= to) break;
      }
      for (const record of packed) {
        if (record.offset <= next) continue;
        next = record.offset;
        time = record.time;
        if (!filters.matches(packedTopic(record)) || this.#isDeleted(record)) continue;
        const unpacked = unpackRecord(record);
        records.push(unpacked);
        bytes += unpacked.weight;
        if (bytes >= maxBytes) return { after: from, records, next, time: unpacked.time };
      }
      if (isLast) next = to;
      if (records.length > 0 && bytes * 2 >= maxBytes) break;
    }
    return { after: from, records, next, time: await this.timeAt(next, time) };
  }

  /** Time of the newest record at or below `offset`; `read`: that of the newest that was just read. */
  async timeAt(offset: number, read?: number): Promise<number> {
    const { known, hot } = this.#parts;
    if (offset >= known.offset) return known.time;
    const held = hot.timeAt(offset) ?? read;
    if (held !== undefined) return held;
    return this.timeBefore(offset);
  }

  /** The same as the server has it, whatever this node knows. */
  async timeBefore(offset: number): Promise<number> {
    if (offset === 0) return 0;
    const { packed } = await this.#page(readBackward, offset, 1, 4);
    return packed[0]?.time ?? 0;
  }

  /** Offsets of the newest `count` records of each matching topic with offset ≤ `to`, by topic, ascending. */
  async newest(filters: FilterSet, count: number, to: number): Promise<Map<string, number[]>> {
    const { hot, known } = this.#parts;
    const found = new Map<string, number[]>();
    const open = new Set<string>();
    for (const { topic, lastOffset } of await this.#topicsOf(filters)) {
      const held = hot.newest(topic, count, to).filter(offset => offset > known.floor);
      if (held.length === count || (held.length > 0 && count === 1)) found.set(topic, held);
      else if (count === 1 && lastOffset <= to) found.set(topic, [lastOffset]);
      else {
        found.set(topic, held);
        open.add(topic);
      }
    }
    let upTo = Math.min(to, hot.base);
    for (let page = pageFirst; open.size > 0 && upTo > known.floor; page = Math.min(pageMost, page * 2)) {
      const { packed, isLast } = await this.#page(readBackward, upTo, known.floor + 1, page);
      for (const record of packed) {
        upTo = record.offset - 1;
        const topic = packedTopic(record);
        if (!open.has(topic) || this.#isDeleted(record)) continue;
        const offsets = found.get(topic)!;
        offsets.unshift(record.offset);
        if (offsets.length === count) open.delete(topic);
      }
      if (isLast) break;
    }
    for (const [topic, offsets] of found) if (offsets.length === 0) found.delete(topic);
    return found;
  }

  async recordsAt(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    const { hot, known } = this.#parts;
    const { floor } = known;
    const there = offsets.findIndex(offset => offset > floor);
    if (there === -1) return [];
    const left = offsets.subarray(there);
    if (left[0]! > hot.base) return recordsHeld(hot, left, maxBytes);
    return this.#recordsBelow(left, maxBytes);
  }

  async #recordsBelow(offsets: Float64Array, maxBytes: number): Promise<readonly LogRecord[]> {
    const records: LogRecord[] = [];
    let bytes = 0;
    // the first may be large, and enough
    for (let at = 0, count = 4; at < offsets.length; count = Math.min(pageFirst, count * 2)) {
      const some = offsets.subarray(at, at + count);
      at += some.length;
      const answer = await this.#ask(
        readAt,
        [...some].map(offset => String(offset)),
      );
      const there = new Map<number, PackedRecord>();
      for (const raw of answer as unknown[]) {
        const { record } = readEntry(raw);
        if (record !== undefined && !this.#isDeleted(record)) there.set(record.offset, record);
      }
      for (const offset of some) {
        const record = there.get(offset);
        if (record === undefined) {
          if (records.length > 0) return records;
          continue;
        }
        const unpacked = unpackRecord(record);
        records.push(unpacked);
        bytes += unpacked.weight;
        if (bytes >= maxBytes) return records;
      }
    }
    return records;
  }

  /** Offset of the first record with time ≥ `time`, undefined when there is none. */
  async firstSince(time: number): Promise<number | undefined> {
    const { known, hot } = this.#parts;
    if (known.time < time) return undefined;
    const before = hot.timeAt(hot.base);
    if (before !== undefined && before < time) return hot.firstSince(time);
    const found = Number(await this.#ask(firstSince, [known.floor, known.offset, time]));
    return found === 0 ? undefined : found;
  }

  /** Topics that hold records, in order, beginning after `after`, at most `limit`. */
  async topics(prefix: string, after: string, limit: number): Promise<readonly TopicInfo[]> {
    const all = await this.#scan(topic => topic > after && topic.startsWith(prefix));
    all.sort((a, b) => (a.topic < b.topic ? -1 : 1));
    return all.slice(0, limit);
  }

  /** The newest records before `offset`, ascending, about `maxBytes` of them. */
  async before(offset: number, maxBytes: number): Promise<readonly PackedRecord[]> {
    const { known } = this.#parts;
    const found: PackedRecord[] = [];
    let bytes = 0;
    for (let upTo = offset; upTo > known.floor && bytes < maxBytes; ) {
      const { packed, isLast } = await this.#page(readBackward, upTo, known.floor + 1, 1024);
      for (const record of packed) {
        upTo = record.offset - 1;
        bytes += record.bytes.length;
        if (bytes > maxBytes) break;
        if (!this.#isDeleted(record)) found.push(record);
      }
      if (isLast) break;
    }
    return found.reverse();
  }

  async #topicsOf(filters: FilterSet): Promise<TopicInfo[]> {
    if (filters.exact === null) return this.#scan(topic => filters.matches(topic));
    const names = [...filters.exact];
    const places = await this.#command(() => this.#parts.connection.redis.hmget(this.#parts.keys.topics, ...names));
    return names.flatMap((topic, i) => (places[i] == null ? [] : [topicInfo(topic, places[i])]));
  }

  async #scan(wanted: (topic: string) => boolean): Promise<TopicInfo[]> {
    const { connection, keys } = this.#parts;
    const found = new Map<string, TopicInfo>();
    let cursor = '0';
    do {
      const [next, fields] = await this.#command(() => connection.redis.hscan(keys.topics, cursor, 'COUNT', scanCount));
      for (let i = 0; i < fields.length; i += 2)
        if (wanted(fields[i]!)) found.set(fields[i]!, topicInfo(fields[i]!, fields[i + 1]!));
      cursor = next;
    } while (cursor !== '0');
    return [...found.values()];
  }

  #isDeleted(record: PackedRecord): boolean {
    const { deletions } = this.#parts;
    return (
      record.offset <= deletions.newest && (deletions.byTopic.get(packedTopic(record))?.upTo ?? 0) >= record.offset
    );
  }

  async #page(
    script: Script,
    from: number,
    to: number,
    count: number,
  ): Promise<{ floor: number; packed: PackedRecord[]; isLast: boolean }> {
    const end = `${to}-0`;
    for (let start = `${from}-0`; ; ) {
      const answer = await this.#ask(script, [start, end, count]);
      const [floor, entries, last] = answer as [Buffer | null, unknown[], number];
      const packed: PackedRecord[] = [];
      for (const raw of entries) {
        const { id, record } = readEntry(raw);
        if (record !== undefined) packed.push(record);
        start = `(${id.toString('latin1')}`;
      }
      // whoever asks goes on behind the last record: a page of nothing but notes leads to the next
      if (packed.length > 0 || last === 1) return { floor: Number(floor ?? 0), packed, isLast: last === 1 };
    }
  }

  #ask(script: Script, args: readonly Argument[]): Promise<unknown> {
    return this.#command(() => script.run(this.#parts.connection.redis, this.#parts.keys.all, args));
  }

  /** Reads change nothing: one whose connection went is made again. */
  #command<T>(command: () => Promise<T>): Promise<T> {
    const { connection, clock } = this.#parts;
    return this.#gate.run(async () => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await connection.ask(command);
        } catch (error) {
          if (!isPassing(error)) throw error;
          if (attempt === attemptsMost)
            throw new TailraceError('engine_unavailable', `Redis does not answer reads: ${(error as Error).message}`, {
              retryAfter: 5000,
            });
        }
        // a connection that was given up says for a moment that it stands
        await new Promise<void>(resolve => clock.after(pauseAfterError, resolve));
      }
    });
  }
}

function topicInfo(topic: string, place: string): TopicInfo {
  const [offset, time] = place.split(' ');
  return { topic, lastOffset: Number(offset), lastTime: Number(time) };
}
