import type { Clock } from '../log/clock.ts';
import type { LogNode, LogNodes, NodeAbout } from '../log/shared-log.ts';

export interface BeatingNodesParts {
  readonly clock: Clock;
  /** Of what is told: ms since 1970 UTC. */
  readonly wall: Clock;
  /** Id of this node. */
  readonly node: string;
  /** The newest record that came through this node's tail. */
  readonly head: () => number;
}

const beatEvery = 30_000;
/** A node that said nothing for so long is gone: the others hear of it with their next beat, 90 s after its last, ms. */
export const silenceMost = 60_000;

/** The nodes of a log in a server: each says every 30 s that it is there, and hears who else is. */
export abstract class BeatingNodes implements LogNodes {
  protected readonly since: number;
  protected about: NodeAbout = { name: '', address: '', version: '' };
  readonly #parts: BeatingNodesParts;
  #others: readonly LogNode[] = [];
  #heardAt = 0;
  #stop: () => void = () => {};
  #beating: Promise<void> | undefined;
  #closed = false;

  constructor(parts: BeatingNodesParts) {
    this.#parts = parts;
    this.since = parts.wall.now();
  }

  get all(): readonly LogNode[] {
    const { node, head, clock } = this.#parts;
    const passed = clock.monotonic() - this.#heardAt;
    const self = { ...this.about, id: node, since: this.since, silence: 0, head: head(), lag: 0 };
    const others = this.#others.map(other => ({ ...other, silence: other.silence + Math.round(passed) }));
    return [self, ...others.filter(({ silence }) => silence < silenceMost + beatEvery)];
  }

  /** From now on it says so. */
  introduce(about: NodeAbout): void {
    this.about = about;
    this.#beatOn();
  }

  /** Says goodbye, when the server hears it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stop();
    if (this.#beating !== undefined) await this.leave(this.#beating);
  }

  /** Says that this node is there; resolves with the others that are. */
  protected abstract beat(): Promise<readonly LogNode[]>;

  /** Says goodbye after what is under way, unless that would take long. */
  protected abstract leave(underWay: Promise<void>): Promise<void>;

  /** A beat failed; answers how soon the next one follows, ms. */
  protected abstract failed(error: unknown): number;

  #beatOn(): void {
    this.#stop();
    this.#beating = this.beat()
      .then(
        others => {
          this.#others = [...others].sort((one, other) => one.since - other.since);
          this.#heardAt = this.#parts.clock.monotonic();
          return beatEvery;
        },
        error => (this.#closed ? beatEvery : this.failed(error)),
      )
      .then(next => {
        this.#stop();
        if (!this.#closed) this.#stop = this.#parts.clock.after(next, () => this.#beatOn());
      });
  }
}
