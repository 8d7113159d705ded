import * as fs from 'node:fs';
import * as path from 'node:path';

/** Copies what a process that is killed now would leave in its data directory into `to`, which is made. */
export function copyLeftBehind(directory: string, to: string): void {
  fs.mkdirSync(to, { recursive: true });
  for (const name of fs.readdirSync(directory))
    if (/\.(log|idx)$|^epochs$|^log\.json$/.test(name))
      fs.copyFileSync(path.join(directory, name), path.join(to, name));
}
