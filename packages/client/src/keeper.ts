import type { Environment } from './environment.ts';

/** Where something is kept over restarts. Both may return promises; a value is a string, of some hundred bytes for a cursor. */
export interface Store {
  load(key: string): string | undefined | Promise<string | undefined>;
  save(key: string, value: string): unknown;
}

/** How long a value may have changed before it is kept, ms. */
const keepWithin = 100;
/** How long a page may go on after it was said to leave, ms. */
const leaving = 2000;

/** Keeps one value that changes often: soon after it changed, before the page goes, and only while `isOurs`. */
export class Keeper {
  readonly #key: string;
  readonly #store: Store;
  readonly #environment: Environment;
  readonly #stopLeave: () => void;
  #value: (() => string) | undefined;
  #stopTimer: (() => void) | undefined;
  /** The page is going, if it does not come back: nothing can wait. */
  #leftAt = Number.NEGATIVE_INFINITY;
  #isOurs: boolean;

  constructor(key: string, store: Store, environment: Environment, isOurs: boolean) {
    this.#key = key;
    this.#store = store;
    this.#environment = environment;
    this.#isOurs = isOurs;
    this.#stopLeave = environment.onLeave(() => {
      this.#leftAt = environment.now();
      this.flush();
    });
  }

  /** Whoever kept it before does so no more. */
  takeOver(): void {
    this.#isOurs = true;
    this.flush();
  }

  /** `value` is asked when it is kept. */
  changed(value: () => string): void {
    this.#value = value;
    if (this.#environment.now() - this.#leftAt < leaving) this.flush();
    else this.#stopTimer ??= this.#environment.after(keepWithin, () => this.flush());
  }

  flush(): void {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    if (this.#value === undefined || !this.#isOurs) return;
    void this.#store.save(this.#key, this.#value());
    this.#value = undefined;
  }

  close(): void {
    this.flush();
    this.#stopLeave();
  }
}
