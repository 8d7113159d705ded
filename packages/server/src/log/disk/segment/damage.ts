import type { FilePlace, LogReport, OffsetRange } from '../../report.ts';

/** Something in the files that cannot be what was written. */
export interface Damage extends FilePlace {
  readonly what: string;
  /** Offsets that cannot be read because of it, as far as that can be told. */
  readonly lost?: OffsetRange;
}

/** Damage among data that was durable: the log does not start, and reads do not go past it (I10). */
export class LogDamaged extends Error {
  readonly directory: string;
  readonly damages: readonly Damage[];
  readonly hint: string;

  constructor(directory: string, damages: readonly Damage[], hint: string, cause?: unknown) {
    super(
      `the log in ${directory} is damaged: ${damages.map(describeDamage).join('; ')}. ${hint}`,
      cause === undefined ? undefined : { cause },
    );
    this.name = 'LogDamaged';
    this.directory = directory;
    this.damages = damages;
    this.hint = hint;
  }
}

/** What is wrong with a segment whose header names another last frame than `before` ends with. */
export function notFollowing(before: string): string {
  return `the segment does not follow ${before}: its header names another last frame, so one of the two is not the file that was written here`;
}

/** What the report of a damage says beside its message. */
export function placeOf({ what: _, lost, ...at }: Damage): Pick<LogReport, 'at' | 'lost'> {
  return { at, ...(lost === undefined ? {} : { lost: [lost] }) };
}

export function describeDamage(damage: Damage): string {
  const place = [
    `segment ${damage.segment}`,
    ...(damage.frame === undefined ? [] : [`frame ${damage.frame}`]),
    ...(damage.position === undefined ? [] : [`position ${damage.position}`]),
    ...(damage.offset === undefined ? [] : [`offset ${damage.offset}`]),
  ];
  const lost = damage.lost === undefined ? '' : ` (offsets ${damage.lost.from} to ${damage.lost.to})`;
  return `${place.join(', ')}: ${damage.what}${lost}`;
}
