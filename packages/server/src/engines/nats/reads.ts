import { TailraceError } from '@tailrace/protocol';
import { systemClock } from '../../log/clock.ts';
import type { Entry, EntryTimes, PartitionRead } from '../broker-partition.ts';
import { ConnectionLost, type KeptConnection, type Line } from './connection.ts';
import { decodeEntry } from './entry.ts';
import type { Names } from './names.ts';
import { nanosecondsOf } from './seen.ts';

export interface ReadsParts {
  readonly connection: KeptConnection;
  readonly names: Names;
  readonly times: EntryTimes;
}

const attemptsMost = 3;
/** Entries of one request at most. */
const countMost = 4096;
/** How long a replica that has not everything yet is asked again, ms. */
const behindMost = 5000;
const behindPause = 50;
/** Entries in front of the place that a search by time finds: nodes append at the same time, each by its own clock. */
const lookBack = 256;

interface Bounds {
  /** First offset that there is; one above the head when there is none. */
  readonly first: number;
  readonly head: number;
}

/** Reads by offset, which any replica answers. */
export class Reads {
  readonly #parts: ReadsParts;

  constructor(parts: ReadsParts) {
    this.#parts = parts;
  }

  async read(after: number, to: number, maxBytes: number): Promise<PartitionRead> {
    const since = systemClock.monotonic();
    while (to > after) {
      const entries = await this.#get(after + 1, to, maxBytes);
      const last = entries.at(-1);
      // nothing is missing in a stream but what was removed from its beginning
      const begins = entries.length === 0 ? after : entries[0]!.offset - 1;
      if (last !== undefined && last.offset <= to)
        return { after: Math.max(after, begins), entries, next: last.offset };
      const { first, head } = await this.#bounds();
      if (first > after + 1) {
        if (first > Math.min(to, head))
          return { after: Math.min(to, first - 1), entries: [], next: Math.min(to, first - 1) };
        after = first - 1;
        continue;
      }
      if (head <= after) return { after, entries: [], next: after };
      if (systemClock.monotonic() - since > behindMost)
        throw new TailraceError('engine_unavailable', `NATS does not find what is behind offset ${after}`, {
          retryAfter: 1000,
        });
      await new Promise<void>(resolve => systemClock.after(behindPause, resolve));
    }
    return { after, entries: [], next: after };
  }

  async firstSince(time: number): Promise<number | undefined> {
    const { first, head } = await this.#bounds();
    let low = first;
    let high = head + 1;
    while (low < high) {
      const mid = Math.floor((low + high) / 2);
      const entry = await this.#at(mid);
      if (entry !== undefined && entry.time >= time) high = mid;
      else low = mid + 1;
    }
    for (let after = Math.max(first - 1, low - 1 - lookBack); after < low - 1; ) {
      const { entries, next } = await this.read(after, low - 1, Number.MAX_SAFE_INTEGER);
      const earlier = entries.find(entry => entry.time >= time);
      if (earlier !== undefined) return earlier.offset;
      after = next;
    }
    return low > head ? undefined : low;
  }

  async #at(offset: number): Promise<Entry | undefined> {
    const { entries } = await this.read(offset - 1, offset, 1);
    return entries[0];
  }

  #bounds(): Promise<Bounds> {
    return this.#ask(async ({ jetstream }) => {
      const { state } = await jetstream.streams.info(this.#parts.names.stream);
      return { first: Math.max(1, state.messages === 0 ? state.last_seq + 1 : state.first_seq), head: state.last_seq };
    });
  }

  /** Reads change nothing: one whose connection went is made again. */
  async #ask<T>(question: (line: Line) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#parts.connection.ask(question);
      } catch (error) {
        if (!(error instanceof ConnectionLost) || this.#parts.connection.isClosed) throw error;
        if (attempt === attemptsMost)
          throw new TailraceError('engine_unavailable', `NATS does not answer reads: ${error.message}`, {
            retryAfter: 5000,
          });
      }
    }
  }

  /** Entries from `from` on to `to`, fewer when they are many or large; none where nothing is found. */
  #get(from: number, to: number, maxBytes: number): Promise<readonly Entry[]> {
    return this.#ask(async line => {
      const { jetstream } = line;
      // asked for a single one the server does not look beyond `from`
      const batch = Math.max(2, Math.min(countMost, to - from + 1));
      const entries: Entry[] = [];
      const isStored = this.#parts.times === 'broker';
      try {
        const max_bytes = Math.max(1, Math.min(maxBytes, 64 * 1024 * 1024));
        const found = await jetstream.direct.getBatch(this.#parts.names.stream, { seq: from, batch, max_bytes });
        for await (const { seq, data, timestamp } of found)
          if (seq <= to) entries.push(decodeEntry(seq, data, isStored ? nanosecondsOf(timestamp) : undefined));
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      // an answer that a lost connection cut short looks like one that ended
      if (line.isLost || line.nats.isClosed()) throw new ConnectionLost('the connection is lost');
      return entries;
    });
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && /message not found|no results|no messages/i.test(error.message);
}
