import type { LogReport } from '../../report.ts';
import type { Preparer } from '../commit/preparer.ts';
import type { StartRecord } from './start-record.ts';

/** Whether the disk has room, told each time that changes. */
export class DiskSpace {
  /** An append was refused since the last commit: what was not refused yet may still fit into what is filled. */
  refused: boolean;
  readonly #start: StartRecord;
  readonly #preparer: Preparer;
  readonly #report: (report: LogReport) => void;
  #told = false;

  constructor(start: StartRecord, preparer: Preparer, report: (report: LogReport) => void) {
    this.#start = start;
    this.#preparer = preparer;
    this.#report = report;
    this.refused = start.full !== undefined;
  }

  /** Why the disk takes nothing: either may lack room, what the start owes, or the segments. */
  get full(): string | undefined {
    return this.#start.full ?? this.#preparer.full;
  }

  /** True once the start is written down. */
  async recordStart(): Promise<boolean> {
    const recorded = await this.#start.write();
    this.tell();
    return recorded;
  }

  /** Tells what has changed. */
  tell(): void {
    const { full } = this;
    if ((full !== undefined) === this.#told) return;
    this.#told = full !== undefined;
    if (full === undefined) {
      this.refused = false;
      this.#report({ level: 'info', kind: 'space_back', message: 'there is space on the disk again' });
    } else {
      this.#report({
        level: 'warn',
        kind: 'full',
        message: `the disk is full, what is appended may be refused: ${full}`,
      });
    }
  }
}
