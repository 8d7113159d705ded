import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const directories: string[] = [];
process.on('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** Gone when the tests are over. */
export function temporaryDirectory(server: string): string {
  const directory = mkdtempSync(join(tmpdir(), `tailrace-${server}-`));
  directories.push(directory);
  return directory;
}

/** A real server that tests start, end, and start again. */
export abstract class ServerProcess {
  protected process: ChildProcess | undefined;

  signal(signal: NodeJS.Signals): void {
    this.process?.kill(signal);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.process;
    this.process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, 'exit');
  }
}
