import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { TestContext } from 'vitest';
import { temporaryDirectory } from './temporary-directory.ts';

/** A real file system with little room. */
export interface SmallFileSystem extends Disposable {
  readonly directory: string;
  /** Takes all the room that is left, to the last block. */
  fill(): void;
  /** Gives back what `fill` took. */
  free(): void;
}

/** Mounts a tmpfs of `size`, such as `3m`, until it is disposed of. Skips the test where that is not possible. */
export function smallFileSystem(ctx: TestContext, size: string): SmallFileSystem {
  if (process.getuid?.() !== 0 || process.platform !== 'linux') {
    console.warn('SKIPPED: a small tmpfs can only be mounted by root');
    ctx.skip();
  }
  const directory = temporaryDirectory();
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', directory]);
  const ballast = path.join(directory, 'ballast');
  return {
    directory,
    fill() {
      const file = fs.openSync(ballast, 'a');
      try {
        for (const block = Buffer.alloc(4096); ; ) fs.writeSync(file, block);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      } finally {
        fs.closeSync(file);
      }
    },
    free: () => fs.rmSync(ballast),
    [Symbol.dispose]: () => void execFileSync('umount', ['-l', directory]),
  };
}
