/** Keeps records in order and says when one is on disk: our log, and what one would take instead. */
export interface Store {
  /** Resolves once the record is synced. */
  append(topic: string, data: Buffer): Promise<unknown>;
  /** Records in it. */
  count(): number;
  close(): Promise<void>;
}

export type StoreName = 'tailrace' | 'lmdb' | 'better-sqlite3';

export async function openStore(name: StoreName, directory: string): Promise<Store> {
  if (name === 'tailrace') return (await import('./tailrace.ts')).openTailrace(directory);
  if (name === 'lmdb') return (await import('./lmdb.ts')).openLmdb(directory);
  return (await import('./better-sqlite3.ts')).openBetterSqlite3(directory);
}
