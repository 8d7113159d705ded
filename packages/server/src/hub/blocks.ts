import type { FilterSet } from '@tailrace/protocol';
import { type Dropped, type Log, type LogRecord, nothingDropped, type Position, type Tokens } from '../log/index.ts';
import { BlockCache } from './block-cache.ts';
import type { Encoding } from './encoding.ts';
import { type NewestList, readNewest } from './newest.ts';
import { logRewound } from './rewound.ts';

/** An encoded stretch of the log, ready to be written to any number of sockets. */
export class Block {
  /** Empty when no record of the stretch matched. */
  readonly bytes: Buffer;
  readonly count: number;
  /** The stretch ends here. */
  readonly next: number;
  readonly nextTime: number;
  /** Topics that ended in this stretch; undefined nearly always. */
  readonly ended: readonly string[] | undefined;
  /** What rules had dropped beyond its beginning when it was read. */
  dropped: Dropped = nothingDropped;
  /** Sessions whose socket has not finished it. */
  pins = 0;

  constructor(bytes: Buffer, count: number, next: number, nextTime: number, ended: readonly string[] | undefined) {
    this.bytes = bytes;
    this.count = count;
    this.next = next;
    this.nextTime = nextTime;
    this.ended = ended;
  }
}

const noBytes = Buffer.alloc(0);

/** Target size of a block, bytes: one large record may exceed it. */
export const blockBytes: number = 64 * 1024;

/** Offsets that one block looks at, when there are more to go: in the hot tail, and below it. */
const stretch = 1024;
const coldStretch = 64 * stretch;

/**
 * Whoever is far behind reads on to fixed places: all who come by share the blocks between them, wherever the head is by
 * then, and none is made by looking at everything up to the head (86 ms for 200,000 small batches).
 */
function cutOff(scanned: number, upTo: number, stretch: number): number {
  return upTo - scanned <= stretch ? upTo : (Math.floor(scanned / stretch) + 1) * stretch;
}

/**
 * Where several read the same filters below the hot tail, a block ends at the roundest offset that its size allows. Who
 * began elsewhere comes to the same places within a few blocks, and from there on they share them. A block is then more
 * than half as large as it might be (where matches lie evenly), and what it leaves is read again: for one who reads
 * alone that would be a quarter of the work for nothing.
 */
function cutRound(records: readonly LogRecord[]): readonly LogRecord[] {
  if (records.length === 0) return records;
  const end = roundest(records[0]!.offset, records[records.length - 1]!.offset);
  const count = records.findIndex(record => record.offset > end);
  return count === -1 ? records : records.slice(0, count);
}

/** The number in [`first`, `last`] that the largest power of two divides. */
function roundest(first: number, last: number): number {
  let step = 1;
  while (Math.floor(last / (2 * step)) * 2 * step >= first) step *= 2;
  return Math.floor(last / step) * step;
}

/** Who reads below the hot tail, as far as its next block depends on it. */
export interface ColdReader {
  readonly sub: string;
  readonly filters: FilterSet;
  readonly offset: number;
  readonly time: number;
  /** Nothing that matches lies between `offset` and here. */
  readonly scanned: number;
  /** Whether others read on with the same filters. */
  readonly hasCompany: boolean;
}

/**
 * Makes blocks and keeps the newest, so that cohorts with different filters and subscriptions that lag share them.
 * A block is known by what decides its bytes: encoding, stretch and the topics that matched; not by who asked.
 */
export class Blocks {
  readonly #log: Log;
  readonly #tokens: Tokens;
  readonly #hot: BlockCache;
  // apart from those of the hot tail, which the cohorts are about to ask for
  readonly #cold: BlockCache;
  readonly #reading = new Map<string, Promise<Block | Position>>();
  hits = 0;
  misses = 0;

  /** Keeps `maxBytes` of either kind. */
  constructor(log: Log, tokens: Tokens, maxBytes: number) {
    this.#log = log;
    this.#tokens = tokens;
    this.#hot = new BlockCache(maxBytes);
    this.#cold = new BlockCache(maxBytes);
  }

  /**
   * The next block of (`from`, `upTo`] out of the hot tail, where `scanned` ≥ `from.offset` is known to be free of
   * matches; undefined when that is no longer in memory. Hot.
   */
  hot(
    encoding: Encoding,
    sub: string,
    filters: FilterSet,
    from: { readonly offset: number; readonly time: number },
    scanned: number,
    upTo: number,
  ): Block | undefined {
    const { hot, deletions } = this.#log;
    // what was deleted from memory is told by who reads the log
    if (scanned < hot.base || scanned < deletions.newest) return undefined;
    const to = cutOff(scanned, upTo, stretch);
    const topics = hot.matchedTopics(scanned, to, filters);
    if (topics.length === 0) return new Block(noBytes, 0, to, this.#timeAt(to), undefined);
    const bodyKey = `${encoding.name} ${deletions.version} ${scanned} ${to} ${topics.length === 1 ? topics[0] : topics.join('\n')}`;
    let body = this.#get(this.#hot, bodyKey);
    if (body === undefined) {
      const records: LogRecord[] = [];
      const next = hot.read(scanned, to, filters, blockBytes, records);
      body = new Block(encoding.body(records, true), records.length, next, this.#timeAt(next), endedTopics(records));
      this.#hot.keep(bodyKey, body);
    }
    return this.#carried(this.#hot, encoding, body, bodyKey, sub, from);
  }

  /** Forgets every block. */
  clear(): void {
    this.#hot.clear();
    this.#cold.clear();
    this.#reading.clear();
  }

  /** The reader's next block, when it was read below the hot tail for another. `list` is that of a snapshot. */
  kept(encoding: Encoding, reader: ColdReader, list: NewestList | undefined): Block | undefined {
    const bodyKey = this.#coldKey(encoding, reader, list);
    const body = this.#cold.get(bodyKey);
    if (body === undefined) return undefined;
    this.hits++;
    return this.#carried(this.#cold, encoding, body, bodyKey, reader.sub, reader);
  }

  /**
   * The same out of the log, read once for all who ask meanwhile; or the position up to which retention has removed
   * what comes next.
   */
  async cold(encoding: Encoding, reader: ColdReader, list: NewestList | undefined): Promise<Block | Position> {
    const { sub, offset, time } = reader;
    const bodyKey = this.#coldKey(encoding, reader, list);
    let body: Block | Position | undefined = this.#get(this.#cold, bodyKey);
    if (body === undefined) {
      let reading = this.#reading.get(bodyKey);
      if (reading === undefined) {
        const read = list === undefined ? this.#readOn(encoding, reader) : this.#walk(encoding, list, offset);
        reading = read.finally(() => this.#reading.delete(bodyKey));
        this.#reading.set(bodyKey, reading);
      }
      const { rewinds } = this.#log;
      body = await reading;
      if (rewinds !== this.#log.rewinds) throw logRewound();
      if (!(body instanceof Block)) return body;
      if (this.#cold.get(bodyKey) === undefined) this.#cold.keep(bodyKey, body);
    }
    return this.#carried(this.#cold, encoding, body, bodyKey, sub, { offset, time });
  }

  async #readOn(encoding: Encoding, reader: ColdReader): Promise<Block | Position> {
    const { filters, scanned } = reader;
    const { hot, deletions, head } = this.#log;
    const below = Math.max(hot.base, Math.min(deletions.newest, head.offset));
    const to = cutOff(scanned, below, coldStretch);
    const slice = await this.#log.read(scanned, to, filters, blockBytes);
    if (slice.after > scanned) return this.#log.positionOf(slice.after);
    const records = reader.hasCompany && slice.next < to ? cutRound(slice.records) : slice.records;
    const next = records === slice.records ? { offset: slice.next, time: slice.time } : records[records.length - 1]!;
    const block = this.#encode(encoding, records, next);
    block.dropped = slice.dropped;
    return block;
  }

  async #walk(encoding: Encoding, list: NewestList, after: number): Promise<Block | Position> {
    const step = await readNewest(this.#log, list, after, list.to.offset, blockBytes);
    return step.trimmedTo ?? this.#encode(encoding, step.records, step.next);
  }

  #encode(encoding: Encoding, records: readonly LogRecord[], next: { offset: number; time: number }): Block {
    const bytes = records.length === 0 ? noBytes : encoding.body(records, true);
    return new Block(bytes, records.length, next.offset, next.time, endedTopics(records));
  }

  /** The block with the label and the chain of cursors that its encoding puts around it. */
  #carried(
    cache: BlockCache,
    encoding: Encoding,
    body: Block,
    bodyKey: string,
    sub: string,
    from: { readonly offset: number; readonly time: number },
  ): Block {
    if (encoding.wrap === null || body.count === 0) return body;
    const after = this.#tokens.of(from.offset, from.time);
    // the label alone says nothing: two sessions may give theirs to different filters
    const key = `${after} ${labelKey(encoding, sub)} ${bodyKey}`;
    let block = this.#get(cache, key);
    if (block === undefined) {
      const bytes = encoding.wrap(body.bytes, sub, after, this.#tokens.of(body.next, body.nextTime));
      block = new Block(bytes, body.count, body.next, body.nextTime, body.ended);
      block.dropped = body.dropped;
      cache.keep(key, block);
    }
    return block;
  }

  #timeAt(offset: number): number {
    const { head } = this.#log;
    return offset === head.offset ? head.time : (this.#log.hot.timeAt(offset) ?? head.time);
  }

  #coldKey(encoding: Encoding, reader: ColdReader, list: NewestList | undefined): string {
    const { filters, offset, scanned } = reader;
    const from =
      list === undefined ? scanned : `${offset} newest ${list.snapshot.count} ${list.snapshot.since} ${list.to.offset}`;
    const { deletions, removals } = this.#log;
    return `${encoding.name} ${deletions.version} ${removals} ${from} ${filters.key}`;
  }

  #get(cache: BlockCache, key: string): Block | undefined {
    const block = cache.get(key);
    if (block === undefined) this.misses++;
    else this.hits++;
    return block;
  }
}

/**
 * Encoding and, where the bytes name it, label: the first part of every key. The length goes before the label, because a
 * client may put any character into it and must not be taken for another by that.
 */
export function labelKey(encoding: Encoding, sub: string): string {
  return encoding.wrap === null ? encoding.name : `${encoding.name} ${sub.length} ${sub}`;
}

export function endedTopics(records: readonly LogRecord[]): readonly string[] | undefined {
  let ended: string[] | undefined;
  for (const record of records) if (record.end) (ended ??= []).push(record.topic);
  return ended;
}
