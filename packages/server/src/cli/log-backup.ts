import { existsSync, realpathSync } from 'node:fs';
import { BackupRefused, backup, DeletionsDamaged, LogDamaged } from '../log/index.ts';
import { workBesideServer } from './beside-server.ts';
import { type Command, CommandError, type Input } from './command.ts';
import { destination } from './destination.ts';
import { dataDirectory, jsonOption, printFound, verifies, verifyOption } from './log-command.ts';

export const logBackup: Command = {
  name: 'log backup',
  arguments: '<directory> <destination>',
  summary: 'Copy the log of a data directory, in use or not, or what is new in it.',
  details: [
    'The server may run. Everything that was acknowledged before the command began is in the backup. Complete segments are hard links where both directories are on one file system, else copies; the newest records are copied and synced. A backup counts once all of it is there: one that was cut short leaves the one before it, and the next run goes on.',
    'It runs at the lowest priority, so that the server is not held up. Backups into one destination run one after another. What retention removed from the log goes from the backup as well.',
  ],
  options: {
    ...verifyOption('the backup before it counts'),
    ...jsonOption('the report'),
  },
  examples: [
    { command: 'tailrace log backup ./data /backup/tailrace', does: 'beside the running server' },
    { command: 'tailrace log backup ./data /backup/tailrace --no-verify', does: 'every hour, verified at night' },
  ],
  exitCodes: { 1: 'the backup is not finished; the one before it in the same place still counts' },
  positionals: { least: 2, most: 2 },
  run,
};

async function run(input: Input): Promise<number> {
  workBesideServer();
  const directory = await dataDirectory(input);
  const to = destination(input.positionals[1]!);
  if (existsSync(to) && realpathSync(to) === realpathSync(directory))
    throw new CommandError(`${directory} cannot be its own backup: choose another directory`);
  const verify = verifies(input);
  const report = await backup(directory, to, { now: Date.now(), verify }).catch((cause: unknown) => {
    throw cause instanceof BackupRefused || cause instanceof LogDamaged || cause instanceof DeletionsDamaged
      ? new CommandError(cause.message, { cause })
      : cause;
  });
  const { head, segments, bytes, linked, copied, kept, removed } = report;
  const text = `${segments} segments, ${bytes} bytes, up to offset ${head}; files: ${linked} linked, ${copied} copied, ${kept} kept, ${removed} removed: the backup is ${verify ? 'whole' : 'there, not verified'}`;
  printFound(input, report, text);
  return 0;
}
