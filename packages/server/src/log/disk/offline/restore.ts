import * as path from 'node:path';
import { systemRandom } from '../../random.ts';
import { writeDeletions } from '../deletion/deletions-file.ts';
import { newBranch, writeBranch } from '../files/branch.ts';
import { type Disk, ignoreMissing } from '../files/disk.ts';
import { writeEpochs } from '../files/epochs-file.ts';
import { writeIdentity } from '../files/identity.ts';
import { nodeDisk } from '../files/node-disk.ts';
import { markFinished, markUnfinished, refuseUnfinished, unfinishedName } from '../files/unfinished.ts';
import { describeDamage } from '../segment/damage.ts';
import { newestSegments } from '../segment/segment-name.ts';
import { BackupRefused } from './backup.ts';
import { type BackupList, readBackupList } from './backup-list.ts';
import { copyFile } from './copy-file.ts';
import { verify } from './verify.ts';

export interface RestoreOptions {
  readonly disk?: Disk | undefined;
  /** Reads every byte of what was restored. */
  readonly verify: boolean;
}

/**
 * Makes a data directory from a backup, by copies: what a server changes in it does not reach the backup. It is
 * marked until all of it is there: no server starts on what a restore left that was cut short.
 */
export async function restore(backup: string, directory: string, options: RestoreOptions): Promise<BackupList> {
  const { disk = nodeDisk } = options;
  const list = await readBackupList(disk, backup).catch(ignoreMissing);
  if (list === undefined) throw new BackupRefused(await whyNoBackup(disk, backup, directory));
  const there = (await disk.list(directory).catch(ignoreMissing)) ?? [];
  if (there.length > 0) await refuseUnfinished(directory, disk);
  if (isLog(there))
    throw new BackupRefused(
      `${directory} holds a log already, which a restore would mix with the backup: name a directory that is not there yet, and start the server on that`,
    );
  if (there.length > 0)
    throw new BackupRefused(`${directory} is not empty: it has ${there[0]}. Restore to a directory of its own`);
  await disk.makeDirectory(directory);
  await markUnfinished(disk, directory, 'restore');
  for (const { name, bytes } of list.files)
    await copyFile(disk, path.join(backup, name), path.join(directory, name), bytes);
  await writeDeletions(disk, directory, list.deletions);
  await writeBranch(disk, directory, newBranch(systemRandom, backup));
  await writeEpochs(disk, directory, list.epochs);
  await writeIdentity(disk, directory, { id: list.id, secret: new Uint8Array(Buffer.from(list.secret, 'hex')) });
  const damages = options.verify ? (await verify(directory, disk, name => name !== unfinishedName)).damages : [];
  await markFinished(disk, directory);
  if (damages.length > 0)
    throw new BackupRefused(
      `what was restored to ${directory} is damaged: ${damages.map(describeDamage).join('; ')}. Run \`tailrace log repair\` on it to go on without what is lost, or restore another backup`,
    );
  return list;
}

function isLog(files: readonly string[]): boolean {
  return files.includes('log.json') || newestSegments(files).length > 0;
}

async function whyNoBackup(disk: Disk, backup: string, directory: string): Promise<string> {
  const files = await disk.list(backup).catch(ignoreMissing);
  if (files === undefined) return `there is no directory ${backup}: the first argument names the backup`;
  if (files.includes(unfinishedName) || !isLog(files))
    return `there is no finished backup in ${backup}: run \`tailrace log backup\` to there again, it goes on where it stopped`;
  return (
    `${backup} is the data directory of a server and no backup: make one of it by \`tailrace log backup ${backup} <backup>\`, ` +
    `then run \`tailrace log restore <backup> ${directory}\``
  );
}
