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
  readonly #lock: Lock;

  /** Resolves with undefined when every place is taken: then nothing is kept. */
  static async open(store: Store, scope: string, environment: Environment): Promise<KeptOutbox | undefined> {
    let own: { readonly key: string; readonly lock: Lock } | undefined;
    const left: Readonly<Record<string, unknown>>[] = [];
    const orphaned: { readonly key: string; readonly lock: Lock }[] = [];
    for (let place = 0; place < placesMost; place++) {
      const key = `${scope}:outbox:${place}`;
      const lock = environment.lock(key, false);
      if (!(await lock.held)) continue;
      const messages = read(await store.load(key));
      left.push(...messages);
      if (own === undefined) own = { key, lock };
      else if (messages.length > 0) orphaned.push({ key, lock });
      else lock.release();
    }
    if (own === undefined) return undefined;
    const kept = new KeptOutbox(left, new Keeper(own.key, store, environment, true), own.lock);
    if (orphaned.length > 0) {
      await store.save(own.key, JSON.stringify(left));
      for (const { key, lock } of orphaned) {
        await store.save(key, '[]');
        lock.release();
      }
    }
    return kept;
  }

  private constructor(left: WireMessages, keeper: Keeper, lock: Lock) {
    this.left = left;
    this.#keeper = keeper;
    this.#lock = lock;
  }

  changed(messages: () => WireMessages): void {
    this.#keeper.changed(() => JSON.stringify(messages()));
  }

  close(): void {
    this.#keeper.close();
    this.#lock.release();
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
