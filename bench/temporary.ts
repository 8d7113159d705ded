import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const present = new Set<string>();
process.on('exit', () => {
  for (const path of present) rmSync(path, { recursive: true, force: true });
});

/** A directory that goes with its scope, also when the run is interrupted. */
export class TemporaryDirectory implements Disposable {
  readonly path: string;

  constructor(parent: string = tmpdir()) {
    this.path = mkdtempSync(join(parent, 'tailrace-bench-'));
    present.add(this.path);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
    present.delete(this.path);
  }
}
