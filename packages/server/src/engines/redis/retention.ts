import type { Clock } from '../../log/clock.ts';
import { logDefaults } from '../../log/options.ts';
import { SteadyClock } from '../../log/steady-clock.ts';
import { isPassing, type RedisConnection } from './connection.ts';
import type { Keys } from './keys.ts';
import { trim as trimScript } from './scripts/trim.ts';

export interface RetentionParts {
  readonly connection: RedisConnection;
  readonly clock: Clock;
  readonly keys: Keys;
  /** Arguments that every script begins with. */
  readonly known: () => readonly (string | number)[];
  /** ms; undefined: for ever. */
  readonly age: number | undefined;
  readonly bytes: number | undefined;
  readonly onFloor: (floor: number) => void;
  readonly onError: (error: unknown) => void;
}

/** Removes what is too old or too much. Each node looks; who comes second finds nothing. */
export class Retention {
  readonly #parts: RetentionParts;
  readonly #steady: SteadyClock;
  #stopSweep: () => void = () => {};
  #sweeping = false;

  constructor(parts: RetentionParts) {
    this.#parts = parts;
    this.#steady = new SteadyClock(parts.clock);
  }

  start(): void {
    const { age, bytes, clock } = this.#parts;
    if (age === undefined && bytes === undefined) return;
    this.#stopSweep = clock.every(logDefaults.sweepMs, () => void this.#sweep());
  }

  close(): void {
    this.#stopSweep();
  }

  async trim(upTo: number): Promise<void> {
    await this.#remove(upTo, '', '');
  }

  async #sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    const { age, bytes, onError } = this.#parts;
    try {
      await this.#remove('', age === undefined ? '' : Math.floor(this.#steady.now() - age), bytes ?? '');
    } catch (error) {
      if (!isPassing(error)) onError(error);
    } finally {
      this.#sweeping = false;
    }
  }

  async #remove(upTo: number | '', olderThan: number | '', bytes: number | ''): Promise<void> {
    const { connection, keys, known, onFloor } = this.#parts;
    for (let more = true; more; ) {
      const answer = await connection.ask(redis =>
        trimScript.run(redis, keys.all, [...known(), upTo, olderThan, bytes]),
      );
      const [left, floor] = answer as [number, number];
      onFloor(floor);
      more = left === 1;
    }
  }
}
