import type { EngineProbe } from '../../log/log.ts';
import type { RedisConnection } from './connection.ts';
import type { Keys } from './keys.ts';
import { probe as probeScript } from './scripts/probe.ts';
import { blockMs, type Tail } from './tail.ts';

export interface ProbesParts {
  readonly connection: RedisConnection;
  readonly keys: Keys;
  /** Arguments that every script begins with. */
  readonly known: () => readonly (string | number)[];
  readonly tail: Tail;
  /** The server has records up to here. */
  readonly onHead: (head: number) => void;
  /** Unlike that of any other node. */
  readonly node: string;
}

/** How much later than the server promises an answer may come before the tail counts as stuck, ms. */
const tailGrace = 1000;

/** Two questions that do not depend on each other: does a write come back through the stream, and does the tail get on? */
export class Probes {
  readonly all: readonly EngineProbe[];
  readonly #parts: ProbesParts;
  #count = 0;
  readonly #waiting = new Map<string, () => void>();

  constructor(parts: ProbesParts) {
    this.#parts = parts;
    this.all = [
      { name: 'round trip', slowMs: 500, run: () => this.#roundTrip() },
      { name: 'tail', slowMs: 200, run: async () => this.#tailGetsOn() },
    ];
  }

  /** A probe has come through the tail. */
  found(said: string): void {
    this.#waiting.get(said)?.();
  }

  async #roundTrip(): Promise<void> {
    const { connection, keys, known, node, onHead } = this.#parts;
    if (!connection.isReady) throw new Error(connection.lastError || 'there is no connection');
    // one that was given up on is not waited for any more
    for (const given of this.#waiting.values()) given();
    const said = `${node} ${++this.#count}`;
    const found = new Promise<void>(resolve => this.#waiting.set(said, resolve));
    try {
      // while publishes are refused nobody else notices that this connection is dead
      const id = (await connection.ask(redis => probeScript.run(redis, keys.all, [...known(), said]))) as Buffer;
      onHead(Number.parseInt(id.toString(), 10));
      await found;
      await connection.ask(redis => redis.xdel(keys.log, id.toString()));
    } finally {
      this.#waiting.delete(said);
    }
  }

  #tailGetsOn(): void {
    const { silence } = this.#parts.tail;
    if (silence > blockMs + tailGrace) throw new Error(`its reads have had no answer for ${Math.round(silence)} ms`);
  }
}
