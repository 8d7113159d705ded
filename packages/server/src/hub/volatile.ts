import type { FilterSet } from '@tailrace/protocol';
import { type Clock, HotTail, LogRecord, PlainBatch, type RecordSource } from '../log/index.ts';
import { Block, blockBytes, labelKey } from './blocks.ts';
import type { Encoding } from './encoding.ts';

const noBytes = Buffer.alloc(0);

/**
 * Messages of class `none`: live only, at most once, never in the log. They pass through a short tail of their own, so
 * that they too are read by cursor: who is too slow for its length loses the oldest, and nobody else notices.
 */
export class VolatileTail {
  readonly #tail: HotTail;
  readonly #clock: Clock;
  readonly #blocks = new Map<string, Block>();
  /** Number of the newest message; these are not offsets of the log and never reach a client. */
  head = 0;

  constructor(maxBytes: number, clock: Clock) {
    this.#tail = new HotTail(maxBytes, 0);
    this.#clock = clock;
  }

  push(message: RecordSource): LogRecord {
    const record = new LogRecord(++this.head, this.#clock.now(), message);
    this.#tail.push(new PlainBatch([record]));
    this.#blocks.clear();
    return record;
  }

  /** What matches after `seen`, about `maxBytes`, and up to where that is; what was evicted before is skipped. */
  read(
    filters: FilterSet,
    seen: number,
    maxBytes: number,
  ): { readonly records: readonly LogRecord[]; readonly next: number } {
    const records: LogRecord[] = [];
    const next = this.#tail.read(Math.max(seen, this.#tail.base), this.head, filters, maxBytes, records);
    return { records, next };
  }

  /** The next block after `seen` for a cohort; what was evicted before is skipped. */
  block(encoding: Encoding, sub: string, filters: FilterSet, seen: number): Block {
    const from = Math.max(seen, this.#tail.base);
    const topics = this.#tail.matchedTopics(from, this.head, filters);
    if (topics.length === 0) return new Block(noBytes, 0, this.head, 0, undefined);
    const key = `${labelKey(encoding, sub)} ${from} ${topics.join('\n')}`;
    let block = this.#blocks.get(key);
    if (block === undefined) {
      const { records, next } = this.read(filters, from, blockBytes);
      const body = encoding.body(records, false);
      const bytes = encoding.wrap === null ? body : encoding.wrap(body, sub, undefined, undefined);
      block = new Block(bytes, records.length, next, 0, undefined);
      this.#blocks.set(key, block);
    }
    return block;
  }
}
