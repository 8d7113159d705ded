import { setTimeout as sleep } from 'node:timers/promises';

const first = 100;
const longest = 30_000;

/** Pauses between attempts: exponential from 100 ms to 30 s with full jitter; a wish of the server comes first. */
export class Backoff {
  #failures = 0;

  /** The last attempt got somewhere: the next pause is short again. */
  reset(): void {
    this.#failures = 0;
  }

  /** Waits before the next attempt. `wish`: ms that the server asked for. */
  async wait(wish: number | undefined): Promise<void> {
    const limit = Math.min(longest, first * 2 ** this.#failures++);
    await sleep(wish ?? Math.random() * limit);
  }
}
