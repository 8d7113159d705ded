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
  /** What a tab that has gone since has left. */
  onOrphaned: (messages: WireMessages) => void = () => {};
  readonly #keeper: Keeper;
  /** Its own place, and those that it waits for. */
  readonly #locks: readonly Lock[];
  #isClosed = false;

  /** Resolves with undefined when every place is taken: then nothing is kept. */
  static async open(store: Store, scope: string, environment: Environment): Promise<KeptOutbox | undefined> {
    let own: string | undefined;
    const locks: Lock[] = [];
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
      if (own === undefined) {
        own = key;
        locks.push(lock);
      } else if (messages.length > 0) orphaned.push({ key, lock });
      else lock.release();
    }
    if (own === undefined) return undefined;
    if (orphaned.length > 0) await store.save(own, JSON.stringify(left));
    for (const { key, lock } of orphaned) {
      await store.save(key, '[]');
      lock.release();
    }
    const kept = new KeptOutbox(left, new Keeper(own, store, environment, true), locks);
    for (const key of taken) {
      const lock = environment.lock(key, true);
      locks.push(lock);
      void lock.held.then(() => kept.#inherit(store, key, lock));
    }
    return kept;
  }

  private constructor(left: WireMessages, keeper: Keeper, locks: readonly Lock[]) {
    this.left = left;
    this.#keeper = keeper;
    this.#locks = locks;
  }

  changed(messages: () => WireMessages): void {
    this.#keeper.changed(() => JSON.stringify(messages()));
  }

  close(): void {
    this.#isClosed = true;
    this.#keeper.close();
    for (const lock of this.#locks) lock.release();
  }

  async #inherit(store: Store, key: string, lock: Lock): Promise<void> {
    const messages = read(await store.load(key));
    if (messages.length > 0 && !this.#isClosed) {
      this.onOrphaned(messages);
      this.#keeper.flush();
      await store.save(key, '[]');
    }
    lock.release();
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
