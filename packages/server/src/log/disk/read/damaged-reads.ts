import { TailraceError } from '@tailrace/protocol';
import type { LogReport } from '../../report.ts';
import { type Damage, describeDamage, LogDamaged, placeOf } from '../segment/damage.ts';
import { FrameReader } from '../segment/frame-reader.ts';
import type { Segment } from '../segment/segment.ts';
import type { SegmentList } from '../segment/segment-list.ts';
import type { Gate } from './gate.ts';

export interface DamagedReadsParts {
  readonly segments: SegmentList;
  readonly gate: Gate;
  readonly report: (report: LogReport) => void;
}

/** Places told of; finding one again reads its segment up to there. */
const keptPlaces = 256;

/** Damage stays until an operator mends it, ms. */
const retryAfter = 60_000;

/** Reads that met damage: each place is looked up and reported once, and every reader gets the same error. */
export class DamagedReads {
  /** Reads refused. */
  count = 0;
  readonly #parts: DamagedReadsParts;
  readonly #places = new Map<string, Promise<Damage>>();

  constructor(parts: DamagedReadsParts) {
    this.#parts = parts;
  }

  /** For `catch` of a read: what is no damage is passed on as it is. */
  readonly refuse = async (error: unknown): Promise<never> => {
    const damage = error instanceof LogDamaged ? error.damages[0] : undefined;
    if (damage === undefined) throw error;
    this.count++;
    const place = describeDamage(await this.#place(damage));
    throw new TailraceError(
      'log_damaged',
      `${place}; run \`tailrace log verify\` on the data directory to see all of it, then stop the server and run \`tailrace log repair\``,
      { retryAfter, cause: error },
    );
  };

  #place(damage: Damage): Promise<Damage> {
    const key = `${damage.segment} ${damage.position}`;
    let place = this.#places.get(key);
    if (place === undefined) {
      place = this.#find(damage);
      this.#places.set(key, place);
      if (this.#places.size > keptPlaces) this.#forgetOldest();
    }
    return place;
  }

  #forgetOldest(): void {
    for (const oldest of this.#places.keys()) {
      this.#places.delete(oldest);
      return;
    }
  }

  async #find(met: Damage): Promise<Damage> {
    const segment = this.#parts.segments.all.find(({ name }) => name === met.segment);
    const damage = segment === undefined ? met : await inFrames(segment, this.#parts.gate, met);
    this.#parts.report({
      level: 'error',
      kind: 'damaged',
      message: `a reader met damage, and gets an error instead: ${describeDamage(damage)}. Run \`tailrace log verify\` to see all of it, then stop the server and run \`tailrace log repair\``,
      ...placeOf(damage),
    });
    return damage;
  }
}

/** The damage with the number of its frame and its first offset, when the frames before it are whole. */
async function inFrames(segment: Segment, gate: Gate, met: Damage): Promise<Damage> {
  if (met.frame !== undefined || met.position === undefined) return met;
  const frames = new FrameReader(segment, gate, segment.header.framesAt);
  try {
    while (await frames.next()) if (frames.position > met.position) return met;
  } catch (error) {
    const found = error instanceof LogDamaged ? error.damages[0] : undefined;
    if (found?.position === undefined) return met;
    const end = found.position + (found.lost === undefined ? 1 : frames.header.length);
    if (found.position <= met.position && met.position < end) return frames.placed(found);
  }
  return met;
}
