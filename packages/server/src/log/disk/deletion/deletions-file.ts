import * as path from 'node:path';
import { type Disk, ignoreMissing } from '../files/disk.ts';
import { readSmallFile, replaceSmallFile } from '../files/small-file.ts';

export const deletionsName = 'deletions';

/** A topic whose records up to an offset are to go from the files. */
export interface PendingDeletion {
  readonly topic: string;
  readonly upTo: number;
  /** Of the record at `upTo`: what is given out again of its offsets belongs to a later epoch. */
  readonly epoch: number;
}

/** What was asked for and is not done: none when there is no file. */
export async function readDeletions(disk: Disk, directory: string): Promise<readonly PendingDeletion[]> {
  const value = await readSmallFile(disk, directory, deletionsName);
  if (value === undefined) return [];
  return (value as { topics: [string, number, number][] }).topics.map(([topic, upTo, epoch]) => ({
    topic,
    upTo,
    epoch,
  }));
}

export async function writeDeletions(disk: Disk, directory: string, pending: Iterable<PendingDeletion>): Promise<void> {
  const topics = Array.from(pending, ({ topic, upTo, epoch }) => [topic, upTo, epoch]);
  if (topics.length > 0) {
    await replaceSmallFile(disk, directory, deletionsName, { topics });
    return;
  }
  // a full disk has room for that
  await disk.unlink(path.join(directory, deletionsName)).catch(ignoreMissing);
  await disk.syncDirectory(directory);
}
