import type { Clock } from '../../log/clock.ts';
import type { RedisConnection } from './connection.ts';
import { isPassing } from './connection.ts';
import type { Keys } from './keys.ts';
import { eraseDeleted } from './scripts/delete.ts';

export interface ErasureParts {
  readonly connection: RedisConnection;
  readonly clock: Clock;
  readonly keys: Keys;
  readonly onError: (error: unknown) => void;
}

const pauseAfterError = 1000;

/** Takes the records of deleted topics out of the stream, step by step. Several nodes may do the same at once. */
export class Erasure {
  readonly #parts: ErasureParts;
  readonly #topics = new Map<string, number>();
  #running = false;
  #closed = false;

  constructor(parts: ErasureParts) {
    this.#parts = parts;
  }

  /** Deleted topics of which the stream still holds some. */
  get pending(): number {
    return this.#topics.size;
  }

  /** Up to where a topic is deleted of which the stream still holds some. */
  upTo(topic: string): number | undefined {
    return this.#topics.get(topic);
  }

  add(topic: string, upTo: number): void {
    this.#topics.set(topic, upTo);
    if (!this.#running) void this.#run();
  }

  close(): void {
    this.#closed = true;
  }

  async #run(): Promise<void> {
    this.#running = true;
    for (const [topic, upTo] of this.#topics) {
      const erased = await this.#erase(topic, upTo);
      if (!erased) break;
      if (this.#topics.get(topic) === upTo) this.#topics.delete(topic);
    }
    this.#running = false;
    if (this.#topics.size > 0 && !this.#closed) void this.#run();
  }

  async #erase(topic: string, upTo: number): Promise<boolean> {
    const { connection, clock, keys, onError } = this.#parts;
    for (let from: string | null = '-'; from !== null && !this.#closed; ) {
      try {
        const args = [topic, upTo, from];
        const next = (await connection.ask(redis => eraseDeleted.run(redis, keys.all, args))) as Buffer | null;
        from = next === null ? null : next.toString();
      } catch (error) {
        if (this.#closed) return false;
        if (!isPassing(error)) onError(error);
        await new Promise<void>(resolve => clock.after(pauseAfterError, resolve));
      }
    }
    return !this.#closed;
  }
}
