import type { Channel, Environment, Lock } from '../../src/environment.ts';

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Time, chance and wake-ups of a simulated run: nothing happens but by `advance` and `wake`. */
export class World implements Environment {
  readonly random: () => number;
  readonly fetch: typeof fetch = () => Promise.reject(new Error('nothing is fetched here'));
  readonly WebSocket: Environment['WebSocket'] = undefined;
  readonly #wakers = new Set<() => void>();
  readonly #leavers = new Set<() => void>();
  #timers: Timer[] = [];
  readonly #pages = new Set<{ readonly name: string; readonly onMessage: (message: unknown) => void }>();
  readonly #locks = new Set<string>();
  #waiting: (() => boolean)[] = [];
  #now = 0;
  #order = 0;

  constructor(random: () => number) {
    this.random = random;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, order: this.#order++, run };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter(each => each !== timer);
    };
  }

  onWake(run: () => void): () => void {
    this.#wakers.add(run);
    return () => this.#wakers.delete(run);
  }

  onLeave(run: () => void): () => void {
    this.#leavers.add(run);
    return () => this.#leavers.delete(run);
  }

  /** Pages hear each other up to 5 ms later, in order. */
  channel(name: string, onMessage: (message: unknown) => void): Channel {
    const page = { name, onMessage };
    this.#pages.add(page);
    return {
      send: message => {
        const text = JSON.stringify(message);
        for (const other of this.#pages)
          if (other !== page && other.name === name)
            this.after(5, () => this.#pages.has(other) && other.onMessage(JSON.parse(text)));
      },
      close: () => void this.#pages.delete(page),
    };
  }

  lock(name: string, isPatient: boolean): Lock {
    let isReleased = false;
    const held = new Promise<boolean>(resolve => {
      const take = (): boolean => {
        if (isReleased || this.#locks.has(name)) return false;
        this.#locks.add(name);
        resolve(true);
        return true;
      };
      if (take()) return;
      if (isPatient) this.#waiting.push(take);
      else resolve(false);
    });
    return {
      held,
      release: () => {
        if (isReleased) return;
        isReleased = true;
        void held.then(isHeld => {
          if (!isHeld) return;
          this.#locks.delete(name);
          this.#waiting = this.#waiting.filter(each => !each());
        });
      },
    };
  }

  /** Timers and listeners that somebody has not taken back. */
  get left(): number {
    return this.#timers.length + this.#wakers.size + this.#leavers.size + this.#locks.size + this.#pages.size;
  }

  wake(): void {
    for (const run of [...this.#wakers]) run();
  }

  /** Lets `ms` go by, and everything happen that falls due meanwhile. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    for (;;) {
      await settled();
      const next = this.#first();
      if (next === undefined || next.at > until) break;
      this.#timers = this.#timers.filter(timer => timer !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = until;
    await settled();
  }

  #first(): Timer | undefined {
    let first = this.#timers[0];
    for (const timer of this.#timers)
      if (timer.at < first!.at || (timer.at === first!.at && timer.order < first!.order)) first = timer;
    return first;
  }
}

/** Everything that promises had to do is done. */
function settled(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}
