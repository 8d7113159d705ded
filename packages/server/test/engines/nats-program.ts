import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';

/** The server that the suites are written against. Older ones ignore settings of streams that the log needs. */
export const natsVersion = '2.15.2';

/** Outside of the repository, so that it is built once for all checkouts. */
export const natsDirectory: string = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
  'tailrace',
  `nats-server-${natsVersion}`,
);

/** Where the NATS server is, when there is one that is new enough. */
export function findNats(): string | undefined {
  return [natsDirectory, ...(process.env.PATH ?? '').split(delimiter)]
    .map(directory => join(directory, 'nats-server'))
    .find(path => existsSync(path) && isNewEnough(path));
}

function isNewEnough(path: string): boolean {
  const version = /v(\d+)\.(\d+)\./.exec(execFileSync(path, ['--version'], { encoding: 'utf8' }));
  return version !== null && Number(version[1]) * 1000 + Number(version[2]) >= 2012;
}
