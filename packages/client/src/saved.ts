import type { Environment, Lock } from './environment.ts';
import { Keeper, type Store } from './keeper.ts';
import type { Newest } from './seen.ts';

/**
 * How far the application got with one subscription, as it is kept over restarts. Of several tabs that read under one
 * name one keeps it: the first, and when that goes the next.
 */
export class Saved {
  readonly cursor: string | undefined;
  /** What it has taken beyond the cursor: the newest of each topic. */
  readonly beyond: ReadonlyMap<string, Newest>;
  readonly #keeper: Keeper;
  readonly #lock: Lock;

  static async load(store: Store, key: string, environment: Environment): Promise<Saved> {
    return new Saved(await store.load(key), store, key, environment);
  }

  private constructor(text: string | undefined, store: Store, key: string, environment: Environment) {
    const [cursor, beyond] = read(text);
    this.cursor = cursor;
    this.beyond = beyond;
    this.#keeper = new Keeper(key, store, environment, false);
    this.#lock = environment.lock(key, true);
    void this.#lock.held.then(isHeld => isHeld && this.#keeper.takeOver());
  }

  moved(cursor: string | undefined, beyond: ReadonlyMap<string, Newest>): void {
    if (cursor !== undefined) this.#keeper.changed(() => JSON.stringify([cursor, ...beyond]));
  }

  close(): void {
    this.#keeper.close();
    this.#lock.release();
  }
}

function read(text: string | undefined): readonly [string | undefined, ReadonlyMap<string, Newest>] {
  try {
    const kept: unknown = JSON.parse(text ?? '');
    if (isKept(kept)) return [kept[0], new Map(kept.slice(1) as (readonly [string, Newest])[])];
  } catch {
    // somebody else's
  }
  return [undefined, new Map()];
}

function isKept(value: unknown): value is readonly [cursor: string, ...beyond: (readonly [string, Newest])[]] {
  return Array.isArray(value) && typeof value[0] === 'string' && value.slice(1).every(entry => entry[1].offset >= 0);
}
