import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { CommandError } from './command.ts';

/** A file that holds one cursor, so that a later run goes on where this one stopped. */
export class CursorFile {
  readonly #path: string;
  #written: string | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Undefined when there is none yet. */
  read(): string | undefined {
    try {
      return readFileSync(this.#path, 'utf8').trim() || undefined;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new CommandError(`cannot read the cursor file: ${(cause as Error).message}`, { cause });
    }
  }

  /** Whoever reads the file sees the old cursor or the new one, whatever happens in between. */
  write(cursor: string | undefined): void {
    if (cursor === undefined || cursor === this.#written) return;
    const fresh = `${this.#path}.${process.pid}.new`;
    try {
      writeFileSync(fresh, `${cursor}\n`);
      renameSync(fresh, this.#path);
    } catch (cause) {
      throw new CommandError(`cannot write the cursor file: ${(cause as Error).message}`, { cause });
    }
    this.#written = cursor;
  }
}
