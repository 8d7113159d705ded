import { resolve } from 'node:path';
import { BackupRefused, restore, UnfinishedCopy } from '../log/index.ts';
import { type Command, CommandError, type Input } from './command.ts';
import { destination } from './destination.ts';
import { jsonOption, printFound, verifies, verifyOption } from './log-command.ts';

export const logRestore: Command = {
  name: 'log restore',
  arguments: '<backup> <directory>',
  summary: 'Make a data directory from a backup.',
  details: [
    'The directory must be empty or missing. The server that starts on it begins a new epoch: clients whose cursors lie beyond the backup are told reset. Do not run the original beside it.',
  ],
  options: {
    ...verifyOption('what was restored'),
    ...jsonOption('{"id":…,"head":…,"made":…}'),
  },
  examples: [{ command: 'tailrace log restore /backup/tailrace ./data', does: 'then start the server' }],
  exitCodes: { 1: 'there is no finished backup, the directory is not empty, or what was restored is damaged' },
  positionals: { least: 2, most: 2 },
  run,
};

async function run(input: Input): Promise<number> {
  const from = resolve(input.positionals[0]!);
  const to = destination(input.positionals[1]!);
  const list = await restore(from, to, { verify: verifies(input) }).catch((cause: unknown) => {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    const told = cause instanceof BackupRefused || cause instanceof UnfinishedCopy || missing;
    throw told ? new CommandError((cause as Error).message, { cause }) : cause;
  });
  const { id, head, made } = list;
  const text = `restored log ${id} up to offset ${head}, as it was at ${new Date(made).toISOString()}`;
  printFound(input, { id, head, made }, text);
  return 0;
}
