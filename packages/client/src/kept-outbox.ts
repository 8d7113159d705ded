import type { Environment, Lock } from './environment.ts';
import { Keeper, type Store } from './keeper.ts';

/** Messages as they are sent, with what recognises them. */
export type WireMessages = readonly Readonly<Record<string, unknown>>[];

/** Outboxes of one origin, endpoint and user, at most: one for each tab that is open. */
const placesMost = 10;

/**
 * Messages that no server has answered yet, as they are kept over restarts. Each tab has a place of its own; what a tab that
 * is gone left in its place goes to one that is there. A message that is in two of them is taken once all the same.
 */
export class KeptOutbox {
  /** What was left, to be sent first. */
  readonly left: WireMessages;
  readonly #keeper: Keeper;
  readonly #store: Store;
  readonly #environment: Environment;
  /** Of its own place, and of those that it waits for. */
  readonly #locks: Lock[];
  /** Places of other tabs. */
  readonly #taken: readonly string[];
  #isClosed = false;

  /** Resolves with undefined when every place is taken: then nothing is kept. */
  static async open(store: Store, scope: string, environment: Environment): Promise<KeptOutbox | undefined> {
    let own: { readonly key: string; readonly lock: Lock } | undefined;
    const left: Readonly<Record<string, unknown>>[] = [];
    const orphaned: { readonly key: string; readonly lock: Lock }[] = [];
    const taken: string[] = [];
    for (let place = 0; place < placesMost; place++) {
      const key = `${scope}:outbox:${place}`;
      const lock = environment.lock(key, false);
      if (!(await lock.held)) {
        taken.push(key);
        continue;
      }
      const messages = read(await store.load(key));
      left.push(...messages);
      if (own === undefined) own = { key, lock };
      else if (messages.length > 0) orphaned.push({ key, lock });
      else lock.release();
    }
    if (own === undefined) return undefined;
    if (orphaned.length > 0) await store.save(own.key, JSON.stringify(left));
    for (const { key, lock } of orphaned) {
      await store.save(key, '[]');
      lock.release();
    }
    return new KeptOutbox(left, own, store, environment, taken);
  }

  private constructor(
    left: WireMessages,
    own: { readonly key: string; readonly lock: Lock },
    store: Store,
    environment: Environment,
    taken: readonly string[],
  ) {
    this.left = left;
    this.#keeper = new Keeper(own.key, store, environment, true);
    this.#store = store;
    this.#environment = environment;
    this.#locks = [own.lock];
    this.#taken = taken;
  }

  /** Gives what a tab leaves that was there first, when it goes: a page that is reloaded may meet itself. */
  inherit(take: (messages: WireMessages) => void): void {
    for (const key of this.#taken) {
      const lock = this.#environment.lock(key, true);
      this.#locks.push(lock);
      void lock.held.then(async () => {
        const messages = read(await this.#store.load(key));
        if (messages.length > 0 && !this.#isClosed) {
          take(messages);
          this.#keeper.flush();
          await this.#store.save(key, '[]');
        }
        lock.release();
      });
    }
  }

  changed(messages: () => WireMessages): void {
    this.#keeper.changed(() => JSON.stringify(messages()));
  }

  close(): void {
    this.#isClosed = true;
    this.#keeper.close();
    for (const lock of this.#locks) lock.release();
  }
}

function read(text: string | undefined): WireMessages {
  try {
    const kept: unknown = JSON.parse(text ?? '[]');
    if (Array.isArray(kept)) return kept.filter(message => typeof message?.topic === 'string');
  } catch {
    // somebody else's
  }
  return [];
}
