import { TailraceError } from '@tailrace/protocol';
import type { Deletions } from '../../log/deletions.ts';
import type { Deleted, Position } from '../../log/log.ts';
import type { Tables } from '../../log/tables.ts';
import type { Arrivals } from './arrivals.ts';
import type { RedisConnection } from './connection.ts';
import type { Erasure } from './erasure.ts';
import type { Keys } from './keys.ts';
import type { KnownLog } from './known-log.ts';
import { markDeleted } from './scripts/delete.ts';

export interface DeletionParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  readonly known: KnownLog;
  /** Arguments that every script begins with. */
  readonly knownArguments: () => readonly (string | number)[];
  readonly tables: Tables;
  readonly deletions: Deletions;
  readonly erasure: Erasure;
  readonly arrivals: Arrivals;
  /** How often newest records were lost. */
  readonly rewinds: () => number;
  readonly isClosed: () => boolean;
}

/** Deletes topics for good: the server takes note, all nodes hear of it, and one of them takes the records out. */
export class Deletion {
  readonly #parts: DeletionParts;

  constructor(parts: DeletionParts) {
    this.#parts = parts;
  }

  async delete(topic: string): Promise<Deleted> {
    const { connection, keys, known, knownArguments, tables, deletions, erasure } = this.#parts;
    deletions.checkRoom();
    const args = [...knownArguments(), topic, tables.has(topic) ? '1' : '0'];
    if (!connection.isReady)
      throw new TailraceError('engine_unavailable', `Redis does not answer: ${connection.lastError}`, {
        retryAfter: 1000,
      });
    const answer = (await connection.ask(redis => markDeleted.run(redis, keys.all, args))) as Buffer[];
    if (answer.length === 0) {
      const upTo = erasure.upTo(topic);
      return upTo === undefined
        ? { upTo: undefined, pending: false }
        : { upTo: this.#position(upTo, known.time), pending: true };
    }
    const upTo = Number(answer[0]);
    const position = this.#position(upTo, Number(answer[1]));
    await this.#noted(topic, upTo);
    return { upTo: position, pending: true };
  }

  #position(offset: number, time: number): Position {
    return { epoch: this.#parts.known.epochs.epochOf(offset), offset, time };
  }

  /** Resolves when it has come through the tail of this node too. */
  async #noted(topic: string, upTo: number): Promise<void> {
    const { known, deletions, arrivals, rewinds, isClosed } = this.#parts;
    const before = rewinds();
    while ((deletions.byTopic.get(topic)?.upTo ?? 0) < upTo && known.floor < upTo && !isClosed()) {
      if (rewinds() !== before)
        throw new TailraceError('outcome_unknown', 'Redis lost its newest records meanwhile; delete the topic again', {
          retryAfter: 100,
        });
      await arrivals.next();
    }
  }
}
