import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { refuseUnfinished, UnfinishedCopy, unfinishedName } from '../log/index.ts';
import { type Command, CommandError, type Input, type Option } from './command.ts';

/** Of a command that takes a data directory as its argument, or none: what `dataDirectory` reads. */
export const onDirectory: Pick<Command, 'arguments' | 'positionals'> = {
  arguments: '[directory]',
  positionals: { least: 0, most: 1 },
};

export const directoryHelp = 'The directory is the argument, else TAILRACE_DATA, else ./data.';

/** `--json`, for `printFound`. */
export function jsonOption(what: string): { readonly json: Option } {
  return { json: { type: 'switch', help: `Print ${what} as JSON.` } };
}

/** `--verify`, which `--no-verify` takes back. */
export function verifyOption(what: string): { readonly verify: Option } {
  return { verify: { type: 'switch', help: `Read every byte of ${what}; the default. --no-verify: not.` } };
}

export function verifies(input: Input): boolean {
  return input.all.verify !== false;
}

/** Prints what a command found or did: the object with `--json`, else the text. */
export function printFound(input: Input, found: object, text: string): void {
  process.stdout.write(`${input.on('json') ? JSON.stringify(found) : text}\n`);
}

/** The data directory that a `log` command was given: the argument, else the usual one. It has a log. */
export async function dataDirectory(
  input: Input,
  usual: string = process.env.TAILRACE_DATA || './data',
): Promise<string> {
  const directory = resolve(input.positionals[0] ?? usual);
  let files: string[];
  try {
    files = readdirSync(directory);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'it is not there' : code === 'ENOTDIR' ? 'it is no directory' : message;
    throw new CommandError(`cannot read the data directory ${directory}: ${why}`, { cause });
  }
  if (!files.some(name => name === 'log.json' || name === unfinishedName || /^\d{16}\.\d{4}\.log$/.test(name)))
    throw new CommandError(`there is no log in ${directory}`);
  await refuseUnfinished(directory).catch((cause: unknown) => {
    throw cause instanceof UnfinishedCopy ? new CommandError(cause.message, { cause }) : cause;
  });
  return directory;
}
