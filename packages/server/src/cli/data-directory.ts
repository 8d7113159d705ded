import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { CommandError, type Input } from './command.ts';

/** The data directory that a `log` command was given: the argument, else the usual one. It has a log. */
export function dataDirectory(input: Input, usual: string = process.env.TAILRACE_DATA || './data'): string {
  const directory = resolve(input.positionals[0] ?? usual);
  let files: string[];
  try {
    files = readdirSync(directory);
  } catch (cause) {
    throw new CommandError(`cannot read the data directory: ${(cause as Error).message}`, { cause });
  }
  if (!files.some(name => name === 'log.json' || /^\d{16}\.\d{4}\.log$/.test(name)))
    throw new CommandError(`there is no log in ${directory}`);
  return directory;
}

export const directoryHelp = 'The directory is the argument, else TAILRACE_DATA, else ./data.';
