import type { Store } from '../keeper.ts';

interface WebStorage {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

const memory = new Map<string, string>();

/** `localStorage`; where there is none, or it may not be used, the memory of this process. */
export const localStore: Store = {
  load: key => storage()?.getItem(key) ?? memory.get(key),
  save(key, value) {
    try {
      const place = storage();
      if (place !== undefined) {
        place.setItem(key, value);
        return;
      }
    } catch {
      // full, or forbidden
    }
    memory.set(key, value);
  },
};

function storage(): WebStorage | undefined {
  try {
    const here = globalThis as { document?: unknown; localStorage?: WebStorage };
    // Node has one too, which warns unless it was given a file
    return here.document === undefined ? undefined : here.localStorage;
  } catch {
    return undefined;
  }
}
