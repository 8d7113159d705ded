import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('clock-shim.c', import.meta.url));

/** Only where programs can be given another libc function and there is a compiler for it. */
export const canStep: boolean =
  process.platform === 'linux' && spawnSync('gcc', ['--version'], { stdio: 'ignore' }).status === 0;

const directories: string[] = [];
process.on('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** The time of day of a server that is started with `env`, which the test moves. */
export class SteppedClock {
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;
  #made = false;

  constructor() {
    const directory = mkdtempSync(join(tmpdir(), 'tailrace-clock-'));
    directories.push(directory);
    const library = join(directory, 'clock.so');
    execFileSync('gcc', ['-shared', '-fPIC', '-O2', '-o', library, source]);
    this.#file = join(directory, 'step');
    this.step(0);
    this.env = { LD_PRELOAD: library, CLOCK_STEP_FILE: this.#file };
  }

  /** That many seconds away from the true time, from now on. */
  step(seconds: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(seconds));
    // in place: who has the file mapped sees it
    writeFileSync(this.#file, bytes, { flag: this.#made ? 'r+' : 'w' });
    this.#made = true;
  }
}
