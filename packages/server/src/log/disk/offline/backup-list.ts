import type { PendingDeletion } from '../deletion/deletions-file.ts';
import type { Branch } from '../files/branch.ts';
import type { Disk } from '../files/disk.ts';
import type { EpochsFile } from '../files/epochs-file.ts';
import { readSmallFile, replaceSmallFile } from '../files/small-file.ts';

export const listName = 'backup.json';

/**
 * What a backup consists of, in `backup.json`. It is written when all of it is there, and files of the one before go only
 * then: a backup that was cut short leaves the list of the one before, which can still be restored.
 */
export interface BackupList {
  readonly id: string;
  /** Of the log, in hex. */
  readonly secret: string;
  /** Of the directory that it is a backup of; missing for the original. */
  readonly branch?: Branch | undefined;
  /** The newest offset that is in it; 0 for a log without records. */
  readonly head: number;
  /** ms since 1970 UTC. */
  readonly made: number;
  readonly epochs: EpochsFile;
  /** What was asked for and not done: the files may hold records of it still. */
  readonly deletions: readonly PendingDeletion[];
  /** A file may be longer by now: what is behind `bytes` belongs to a later backup that was cut short. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[];
}

/** Undefined when no backup was ever finished there. */
export async function readBackupList(disk: Disk, directory: string): Promise<BackupList | undefined> {
  const list = (await readSmallFile(disk, directory, listName)) as BackupList | undefined;
  // earlier versions wrote none
  return list && { ...list, deletions: list.deletions ?? [] };
}

export function writeBackupList(disk: Disk, directory: string, list: BackupList): Promise<void> {
  return replaceSmallFile(disk, directory, listName, { format: 1, ...list });
}
