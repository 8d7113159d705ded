import type { Block } from './blocks.ts';
import type { Session } from './session.ts';

/** The blocks that unfinished writes hold, each counted once (I5). */
export class Pins {
  bytes = 0;
  readonly #max: number;
  readonly #lagging: ReadonlyMap<Session, unknown>;
  readonly #cut: (session: Session) => void;
  readonly #blocks = new Set<Block>();

  /** Beyond `max` bytes it has sessions out of `lagging` cut. */
  constructor(max: number, lagging: ReadonlyMap<Session, unknown>, cut: (session: Session) => void) {
    this.#max = max;
    this.#lagging = lagging;
    this.#cut = cut;
  }

  pin(session: Session, block: Block): void {
    session.pinned = block;
    if (block.pins++ > 0) return;
    this.#blocks.add(block);
    this.bytes += block.bytes.length;
    if (this.bytes > this.#max) this.#cutOldest();
  }

  unpin(session: Session): void {
    const block = session.pinned;
    if (block === null) return;
    session.pinned = null;
    if (--block.pins > 0) return;
    this.#blocks.delete(block);
    this.bytes -= block.bytes.length;
  }

  // they resume by cursor: cutting costs them a reconnect, keeping them would cost everybody memory
  #cutOldest(): void {
    for (const block of this.#blocks) {
      for (const session of this.#lagging.keys()) if (session.pinned === block) this.#cut(session);
      if (this.bytes <= this.#max) return;
    }
  }
}
