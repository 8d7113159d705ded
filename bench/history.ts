// The log that the log-… scenarios read: made once a run, or kept where `--data` says. Measurements get copies of it, made
// of links: what is sealed is never written again.
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { indexName, newestSegments } from '../packages/server/src/log/disk/segment/segment-name.ts';
import type { BuildResult } from './log/history.ts';
import { LogProcess } from './log/log-process.ts';
import type { Options } from './scenario.ts';
import { TemporaryDirectory } from './temporary.ts';

const buildWithin = 900_000;
/** Beside the segments: what was never a file of the log again, and room for what measurements append. */
const spareBytes = 4e9;

let made: Promise<History> | undefined;

/** Makes it when it is asked for the first time. */
export function history(options: Options): Promise<History> {
  made ??= makeHistory(options);
  return made;
}

export class History {
  readonly about: BuildResult;
  readonly #home: string;

  constructor(home: string) {
    this.#home = home;
    this.about = JSON.parse(readFileSync(join(home, 'about.json'), 'utf8')) as BuildResult;
  }

  /** A log of its oldest segments, at most about `bytes`. */
  copy(bytes: number = Number.POSITIVE_INFINITY): TemporaryDirectory {
    const copy = new TemporaryDirectory(this.#home);
    const log = logIn(this.#home);
    const files = readdirSync(log);
    let left = bytes;
    for (const { name } of newestSegments(files)) {
      left -= statSync(join(log, name)).size;
      if (left < 0) break;
      for (const file of [name, indexName(name)]) linkSync(join(log, file), join(copy.path, file));
    }
    for (const file of ['log.json', 'epochs']) copyFileSync(join(log, file), join(copy.path, file));
    return copy;
  }
}

function logIn(home: string): string {
  return join(home, 'log');
}

async function makeHistory({ historyTopics: topics, historyBytes: bytes, data }: Options): Promise<History> {
  const parent = data ?? new TemporaryDirectory().path;
  const home = join(parent, `history-${topics}-${bytes}`);
  if (existsSync(join(home, 'about.json'))) return new History(home);
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  const { bavail, bsize } = statfsSync(home);
  if (bavail * bsize < bytes + spareBytes)
    throw new Error(`${home} needs ${(bytes + spareBytes) / 1e9} GB of space, and there are ${(bavail * bsize) / 1e9}`);
  await using log = new LogProcess();
  const about = await log.call('build', { directory: logIn(home), topics, bytes }, buildWithin);
  writeFileSync(join(home, 'about.json'), JSON.stringify(about));
  console.error(
    `history: ${(about.bytes / 1e9).toFixed(2)} GB, ${about.records.toLocaleString('en-US')} records, ` +
      `made in ${(about.milliseconds / 1000).toFixed(0)} s`,
  );
  return new History(home);
}
