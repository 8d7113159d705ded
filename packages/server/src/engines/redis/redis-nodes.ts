import type { Clock } from '../../log/clock.ts';
import type { LogNode, LogNodes, NodeAbout } from '../../log/shared-log.ts';
import { isPassing, type RedisConnection } from './connection.ts';
import type { Keys } from './keys.ts';
import { beat } from './scripts/nodes.ts';

export interface RedisNodesParts {
  readonly connection: RedisConnection;
  readonly clock: Clock;
  /** Of what is told: ms since 1970 UTC. */
  readonly wall: Clock;
  readonly keys: Keys;
  /** Id of this node. */
  readonly node: string;
  /** The newest record that came through this node's tail. */
  readonly head: () => number;
  /** The server has records up to here. */
  readonly onHead: (head: number) => void;
  readonly onError: (error: unknown) => void;
}

const beatEvery = 30_000;
/** How soon a beat that failed is tried again, ms. */
const beatAgain = 2000;
/** A node that said nothing for so long is gone: the others hear of it with their next beat, 90 s after its last. */
const silenceMost = 60_000;
const fieldsOfNode = 6;

/** The nodes of a log in Redis: each says every 30 s that it is there, and hears who else is. */
export class RedisNodes implements LogNodes {
  readonly #parts: RedisNodesParts;
  readonly #since: number;
  #about: NodeAbout = { name: '', address: '', version: '' };
  #others: readonly LogNode[] = [];
  #heardAt = 0;
  #stop: () => void = () => {};
  /** Resolves with how long it is until the next, ms. */
  #beating: Promise<number> | undefined;
  #closed = false;

  constructor(parts: RedisNodesParts) {
    this.#parts = parts;
    this.#since = parts.wall.now();
  }

  get all(): readonly LogNode[] {
    const { node, head, clock } = this.#parts;
    const passed = clock.monotonic() - this.#heardAt;
    const self = { ...this.#about, id: node, since: this.#since, silence: 0, head: head(), lag: 0 };
    const others = this.#others.map(other => ({ ...other, silence: other.silence + Math.round(passed) }));
    return [self, ...others.filter(({ silence }) => silence < silenceMost + beatEvery)];
  }

  /** From now on it says so. */
  introduce(about: NodeAbout): void {
    this.#about = about;
    this.#beatOn();
  }

  /** Says goodbye, when the server hears it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stop();
    const { connection, keys, node } = this.#parts;
    if (this.#beating === undefined || !connection.isReady) return;
    await this.#beating;
    await connection.ask(redis => redis.hdel(keys.nodes, node)).catch(() => {});
  }

  #beatOn(): void {
    this.#stop();
    const { clock, onError } = this.#parts;
    this.#beating = this.#beat().then(
      () => beatEvery,
      error => {
        if (!isPassing(error)) onError(error);
        return beatAgain;
      },
    );
    void this.#beating.then(next => {
      this.#stop();
      if (!this.#closed) this.#stop = clock.after(next, () => this.#beatOn());
    });
  }

  async #beat(): Promise<void> {
    const { connection, clock, keys, node, head, onHead } = this.#parts;
    const args = [node, this.#since, head(), JSON.stringify(this.#about), silenceMost];
    const answer = await connection.ask(redis => beat.run(redis, [keys.nodes, keys.state], args));
    const [theirs, ...fields] = answer as [number, ...(Buffer | number)[]];
    onHead(theirs);
    const others: LogNode[] = [];
    for (let at = 0; at < fields.length; at += fieldsOfNode) {
      const [id, silence, since, reached, lag, about] = fields.slice(at, at + fieldsOfNode).map(String);
      if (id === node) continue;
      const { name = '', address = '', version = '' } = JSON.parse(about!) as Partial<NodeAbout>;
      others.push({
        ...{ id: id!, name, address, version, since: Number(since) },
        ...{ silence: Number(silence), head: Number(reached), lag: Number(lag) },
      });
    }
    this.#others = others.sort((one, other) => one.since - other.since);
    this.#heardAt = clock.monotonic();
  }
}
