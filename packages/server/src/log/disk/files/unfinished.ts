import * as path from 'node:path';
import { type Disk, ignoreMissing } from './disk.ts';
import { nodeDisk } from './node-disk.ts';
import { readSmallFile, replaceSmallFile } from './small-file.ts';

export const unfinishedName = 'unfinished';

/** What was making the directory. */
type Work = 'restore' | 'backup';

/** A directory that holds a part of a log only, because what was to fill it was cut short: for people. */
export class UnfinishedCopy extends Error {
  override readonly name = 'UnfinishedCopy';
}

/** Before the first file of a copy: until `markFinished` nobody takes what is there for a whole log. */
export function markUnfinished(disk: Disk, directory: string, work: Work): Promise<void> {
  return replaceSmallFile(disk, directory, unfinishedName, { format: 1, work });
}

export async function markFinished(disk: Disk, directory: string): Promise<void> {
  await disk.unlink(path.join(directory, unfinishedName)).catch(ignoreMissing);
  await disk.syncDirectory(directory);
}

/** Segments that were not copied leave no trace: to a scan their absence looks like the end of the log. */
export async function refuseUnfinished(directory: string, disk: Disk = nodeDisk): Promise<void> {
  if (!(await disk.list(directory)).includes(unfinishedName)) return;
  const marker = (await readSmallFile(disk, directory, unfinishedName)) as { readonly work: Work };
  throw new UnfinishedCopy(
    marker.work === 'restore'
      ? `the restore to ${directory} was cut short or is still running, so records are missing there: when it does not run, remove the directory and run \`tailrace log restore <backup> ${directory}\` again`
      : `${directory} is a backup that was cut short or is still running, so records are missing there: run \`tailrace log backup <data> ${directory}\` again, it goes on where it stopped`,
  );
}
