import type { Channel, Environment, Lock, WebSocketLike } from '../../src/environment.ts';
import type { Network } from './network.ts';
import type { World } from './world.ts';

/** What one page has of the world; it may be gone from one moment to the next. */
export class Page implements Environment {
  readonly random: () => number;
  readonly WebSocket: NonNullable<Environment['WebSocket']>;
  isGone = false;
  readonly #world: World;
  readonly #network: Network;
  readonly #abort = new AbortController();
  /** What ends with the page. */
  readonly #ends = new Set<() => void>();

  constructor(world: World, network: Network) {
    this.#world = world;
    this.#network = network;
    this.random = world.random;
    const ends = this.#ends;
    this.WebSocket = class extends network.WebSocket {
      constructor(url: string) {
        super(url);
        ends.add(() => (this as WebSocketLike).close());
      }
    };
  }

  /** Crashes: nothing of it runs any more, and nobody is told. */
  kill(): void {
    this.isGone = true;
    for (const end of this.#ends) end();
    this.#abort.abort();
  }

  now(): number {
    return this.#world.now();
  }

  after(ms: number, run: () => void): () => void {
    return this.#own(this.#world.after(ms, () => !this.isGone && run()));
  }

  readonly fetch = (input: unknown, init?: RequestInit): Promise<Response> =>
    this.#network.fetch(input, { ...init, signal: AbortSignal.any([init!.signal!, this.#abort.signal]) });

  onWake(run: () => void): () => void {
    return this.#own(this.#world.onWake(run));
  }

  onLeave(run: () => void): () => void {
    return this.#own(this.#world.onLeave(run));
  }

  lock(name: string, isPatient: boolean): Lock {
    if (this.isGone) return { held: new Promise(() => {}), release() {} };
    const lock = this.#world.lock(name, isPatient);
    return { held: lock.held, release: this.#own(() => lock.release()) };
  }

  readonly channel = (name: string, onMessage: (message: unknown) => void): Channel => {
    const channel = this.#world.channel(name, onMessage);
    return { send: message => !this.isGone && channel.send(message), close: this.#own(() => channel.close()) };
  };

  #own(end: () => void): () => void {
    if (this.isGone) {
      end();
      return () => {};
    }
    this.#ends.add(end);
    return () => {
      this.#ends.delete(end);
      end();
    };
  }
}
