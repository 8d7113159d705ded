import { join } from 'node:path';
import { requirePeer } from '../../peers.ts';
import type { Store } from './store.ts';

/** The part of it that is needed: its own types are not valid in a module. */
interface Lmdb {
  open(options: Readonly<Record<string, string | boolean>>): {
    put(key: number, value: Buffer): Promise<boolean>;
    getCount(): number;
    close(): Promise<void>;
  };
}

const peers = new URL('../peers/', import.meta.url);
const { open } = requirePeer(peers, 'lmdb') as Lmdb;

/**
 * The fastest of its settings that keep the promise: binary values under ascending numbers, appended at the end of the
 * tree; all puts of one turn of the event loop are one transaction, which its own thread writes. Without overlapping
 * syncs a put that has resolved is on disk. Topics are left out, to its advantage.
 */
export async function openLmdb(directory: string): Promise<Store> {
  const db = open({
    path: join(directory, 'lmdb'),
    encoding: 'binary',
    keyEncoding: 'uint32',
    overlappingSync: false,
    noMemInit: true,
  });
  let next = db.getCount();
  return {
    append: (_topic, data) => db.put(next++, data),
    count: () => db.getCount(),
    close: () => db.close(),
  };
}
