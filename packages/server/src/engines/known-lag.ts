import type { Clock } from '../log/clock.ts';
import type { TailLag } from '../log/shared-log.ts';

/** How far the tail of a partition is behind, from every answer that happens to say where the server stands. */
export class KnownLag implements TailLag {
  readonly partition: string;
  readonly #clock: Clock;
  /** The newest record that came through the tail. */
  readonly #reached: () => number;
  #head = 0;
  /** What the tail has to come to, and when this node was told of it. */
  #awaited = 0;
  #since = 0;

  constructor(partition: string, clock: Clock, reached: () => number) {
    this.partition = partition;
    this.#clock = clock;
    this.#reached = reached;
  }

  /** The server has records up to here. */
  told(head: number): void {
    if (this.records === 0 || this.#reached() >= this.#awaited || head < this.#awaited) {
      this.#awaited = head;
      this.#since = this.#clock.monotonic();
    }
    this.#head = head;
  }

  /** The server has a record at this offset, and maybe more. */
  toldOf(offset: number): void {
    if (offset > this.#head) this.told(offset);
  }

  get records(): number {
    return Math.max(0, this.#head - this.#reached());
  }

  get ms(): number {
    return this.records === 0 ? 0 : this.#clock.monotonic() - this.#since;
  }
}
