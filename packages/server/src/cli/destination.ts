import { existsSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { CommandError } from './command.ts';

/** By which file a directory is known; a backup has the identity of the log as well. */
const holders = [
  { name: 'backup.json', what: 'a backup' },
  { name: 'unfinished', what: 'an unfinished backup or restore' },
  { name: 'log.json', what: 'a data directory' },
];

/** The directory that is to be written, which is in no data directory and in no backup: there it would be part of that. */
export function destination(argument: string): string {
  const directory = resolve(argument);
  for (let inside = dirname(real(directory)); ; inside = dirname(inside)) {
    const found = holders.find(({ name }) => existsSync(join(inside, name)));
    if (found !== undefined)
      throw new CommandError(
        `${directory} is inside ${inside}, which is ${found.what}: choose a directory outside of it`,
      );
    if (inside === dirname(inside)) return directory;
  }
}

/** As far as there is something: the rest has no links. */
function real(directory: string): string {
  if (existsSync(directory)) return realpathSync(directory);
  return join(real(dirname(directory)), basename(directory));
}
