import { type Disk, isNoSpace } from './disk.ts';
import { type EpochsFile, writeEpochs } from './epochs-file.ts';
import { type Identity, writeIdentity } from './identity.ts';

export interface StartRecordParts {
  readonly disk: Disk;
  readonly directory: string;
  /** Of a new log; undefined when it is known already. */
  readonly identity: Identity | undefined;
  readonly epochs: EpochsFile;
}

/**
 * What a start writes down before its first append: the identity of a new log, and the epoch. A full disk may have no
 * room even for that. Then it is owed: reads are served, nothing is appended, and it is tried again. No cursor beyond the
 * head has been given out by then, so an epoch that was never written down may be taken by the next start.
 */
export class StartRecord {
  /** Why it could not be written yet; undefined once it is. */
  full: string | undefined;
  readonly #parts: StartRecordParts;
  #written = false;
  #writing: Promise<boolean> | undefined;

  constructor(parts: StartRecordParts) {
    this.#parts = parts;
  }

  /** True once it is on disk, false while there is no room. Rejects with any other error. */
  write(): Promise<boolean> {
    if (this.#written) return Promise.resolve(true);
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  /** Resolves when no attempt is under way. */
  async settled(): Promise<void> {
    await this.#writing?.catch(() => undefined);
  }

  async #write(): Promise<boolean> {
    const { disk, directory, identity, epochs } = this.#parts;
    try {
      if (identity !== undefined) await writeIdentity(disk, directory, identity);
      await writeEpochs(disk, directory, epochs);
    } catch (error) {
      if (!isNoSpace(error)) throw error;
      this.full = error instanceof Error ? error.message : String(error);
      return false;
    }
    this.#written = true;
    this.full = undefined;
    return true;
  }
}
