import { TopicHash } from '../../src/log/topic-hash.ts';

/** Has so few values that topics collide all the time. */
export class CollidingHash extends TopicHash {
  readonly #mask: number;

  /** `mask`: the bits of the hash that are kept. */
  constructor(mask: number) {
    super(1, 2);
    this.#mask = mask;
  }

  override ofBytes(view: DataView, start: number, end: number): number {
    return super.ofBytes(view, start, end) & this.#mask;
  }
}
