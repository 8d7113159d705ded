import type { Environment } from './environment.ts';
import type { Newest } from './seen.ts';

/** Where cursors are kept over restarts. A value is a short string; `save` may take its time. */
export interface CursorStore {
  load(key: string): string | undefined | Promise<string | undefined>;
  save(key: string, value: string): unknown;
}

/** How long a cursor may have moved before it is kept, ms: a crash in between gives these messages again. */
const saveEvery = 100;

/** How far the application got with one subscription, as it is kept. */
export class Saved {
  readonly cursor: string | undefined;
  /** What it has taken beyond the cursor: the newest of each topic. */
  readonly beyond: ReadonlyMap<string, Newest>;
  readonly #environment: Environment;
  readonly #write: (value: string) => unknown;
  #now: () => string = () => '';
  #stopTimer: (() => void) | undefined;
  readonly #stopLeave: () => void;

  static async load(store: CursorStore, key: string, environment: Environment): Promise<Saved> {
    return new Saved(await store.load(key), value => store.save(key, value), environment);
  }

  private constructor(text: string | undefined, write: (value: string) => unknown, environment: Environment) {
    const [cursor, beyond] = read(text);
    this.cursor = cursor;
    this.beyond = beyond;
    this.#environment = environment;
    this.#write = write;
    this.#stopLeave = environment.onLeave(() => this.#flush());
  }

  moved(cursor: string | undefined, beyond: ReadonlyMap<string, Newest>): void {
    if (cursor === undefined) return;
    this.#now = () => JSON.stringify([cursor, ...beyond]);
    this.#stopTimer ??= this.#environment.after(saveEvery, () => this.#flush());
  }

  close(): void {
    this.#flush();
    this.#stopLeave();
  }

  #flush(): void {
    if (this.#stopTimer === undefined) return;
    this.#stopTimer();
    this.#stopTimer = undefined;
    void this.#write(this.#now());
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
