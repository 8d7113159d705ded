import { join } from 'node:path';
import { requirePeer } from '../../peers.ts';
import type { Store } from './store.ts';

/** The part of it that is needed. */
type BetterSqlite3 = new (
  path: string,
) => {
  pragma(text: string): void;
  exec(sql: string): void;
  prepare(sql: string): { run(...values: readonly unknown[]): unknown; get(): unknown };
  transaction<T>(work: (of: T) => void): (of: T) => void;
  close(): void;
};

const peers = new URL('../peers/', import.meta.url);
const Database = requirePeer(peers, 'better-sqlite3') as BetterSqlite3;

interface Waiting {
  readonly topic: string;
  readonly data: Buffer;
  readonly resolve: () => void;
}

/** A write-ahead log that is synced at each commit, and one transaction for all that came in one turn of the event loop. */
export async function openBetterSqlite3(directory: string): Promise<Store> {
  const db = new Database(join(directory, 'records.sqlite'));
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.pragma('locking_mode = EXCLUSIVE');
  db.exec('CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, topic TEXT NOT NULL, data BLOB NOT NULL)');
  const insert = db.prepare('INSERT INTO records (topic, data) VALUES (?, ?)');
  const insertAll = db.transaction((batch: readonly Waiting[]) => {
    for (const { topic, data } of batch) insert.run(topic, data);
  });
  let waiting: Waiting[] = [];
  const commit = (): void => {
    const batch = waiting;
    waiting = [];
    insertAll(batch);
    for (const { resolve } of batch) resolve();
  };
  return {
    append: (topic, data) =>
      new Promise<void>(resolve => {
        if (waiting.push({ topic, data, resolve }) === 1) setImmediate(commit);
      }),
    count: () => (db.prepare('SELECT count(*) AS count FROM records').get() as { count: number }).count,
    close: async () => void db.close(),
  };
}
