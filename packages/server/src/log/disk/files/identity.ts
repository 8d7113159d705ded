import { createHash } from 'node:crypto';
import type { Random } from '../../random.ts';
import type { Disk } from './disk.ts';
import { readSmallFile, replaceSmallFile } from './small-file.ts';

const name = 'log.json';

/** What makes a log this log: written once. Every segment header repeats it. */
export interface Identity {
  readonly id: string;
  /** 16 bytes that no publisher knows: see `segmentSeed`. */
  readonly secret: Uint8Array;
}

export async function readIdentity(disk: Disk, directory: string): Promise<Identity | undefined> {
  const value = await readSmallFile(disk, directory, name);
  if (value === undefined) return undefined;
  if (
    typeof value !== 'object' ||
    value === null ||
    !('id' in value) ||
    !('secret' in value) ||
    typeof value.id !== 'string' ||
    typeof value.secret !== 'string'
  )
    throw new Error(`${name} in ${directory} is not the identity of a log`);
  return { id: value.id, secret: new Uint8Array(Buffer.from(value.secret, 'hex')) };
}

export async function writeIdentity(disk: Disk, directory: string, identity: Identity): Promise<void> {
  const secret = Buffer.from(identity.secret).toString('hex');
  await replaceSmallFile(disk, directory, name, { format: 1, id: identity.id, secret });
}

export function newIdentity(random: Random): Identity {
  const secret = createHash('sha256').update(random.id(32)).digest().subarray(0, 16);
  return { id: random.id(8), secret: new Uint8Array(secret) };
}
