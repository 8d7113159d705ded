import type { LogReport, OffsetRange } from '../../report.ts';
import { type Damage, describeDamage, LogDamaged, notFollowing } from '../segment/damage.ts';
import type { SegmentName } from '../segment/segment-name.ts';

/** What a recovery finds that cannot be what was written, and what is lost by it. */
export class Findings {
  readonly lost: OffsetRange[] = [];
  readonly #damages: Damage[] = [];
  /** How many of the damages are files that do not follow each other, by which no record is lost. */
  #breaks = 0;

  damage(damage: Damage): void {
    if (damage.lost !== undefined) this.lost.push(damage.lost);
    this.#damages.push(damage);
  }

  get count(): number {
    return this.#damages.length;
  }

  /** A generation that is broken beside an older one that is whole: nothing is lost by it. */
  replaceable({ name, firstOffset }: SegmentName, what: string, older: string): void {
    const instead = `${older}, which it was to replace, is whole: \`tailrace log repair\` or a start with --accept-loss goes on with that`;
    this.#damages.push({ segment: name, offset: firstOffset, what: `${what}; ${instead}` });
  }

  /** The segment that begins at `first` does not follow the one before it. */
  break(segment: string, first: number, before: string): void {
    this.seam(first);
    this.#damages.push({ segment, offset: first, what: notFollowing(before) });
    this.#breaks++;
  }

  /** Who comes from below `first` may have missed what belongs there, although no offset is missing. */
  seam(first: number): void {
    this.lost.push({ from: first, to: first - 1 });
  }

  /** Throws LogDamaged, or tells what is accepted. `uncopied`: there was no room to keep copies of what is damaged. */
  judge(directory: string, acceptLoss: boolean, uncopied: boolean, report: (report: LogReport) => void): void {
    if (this.#damages.length === 0) return;
    if (!acceptLoss) throw new LogDamaged(directory, this.#damages, this.#hint(uncopied));
    report({
      level: 'error',
      kind: 'loss_accepted',
      message: `loss accepted: ${this.#damages.map(describeDamage).join('; ')}`,
      lost: this.lost.filter(({ from, to }) => from <= to),
    });
  }

  #hint(uncopied: boolean): string {
    if (this.#damages.length === this.#breaks)
      return 'Nothing was changed. Put the file that belongs there back, or start once with --accept-loss to go on with those that are there. `tailrace log verify` shows all of it; a backup may have the file.';
    const copies = uncopied ? 'the disk has no room for copies' : 'copies are in quarantine/';
    return `Nothing was changed; ${copies}. \`tailrace log verify\` shows all of it. Put the files back from a backup, or go on without what is lost: run \`tailrace log repair\`, or start once with --accept-loss.`;
  }
}
