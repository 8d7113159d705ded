/** Time as the rooms below the server see it, so that a simulation can drive it (design §5). */
export interface Clock {
  /** Wall time, integer ms since 1970 UTC. May step. */
  now(): number;
  /** Monotonic ms with fractions, from an arbitrary start. */
  monotonic(): number;
  /** Runs `task` every `intervalMs` until the returned function is called. Never keeps the process alive. */
  every(intervalMs: number, task: () => void): () => void;
  /** Runs `task` once after `delayMs` unless the returned function is called first. Never keeps the process alive. */
  after(delayMs: number, task: () => void): () => void;
  /** Runs `task` on the next turn of the event loop, after pending I/O has been served. */
  soon(task: () => void): void;
}

/** The time of the machine. */
class SystemClock implements Clock {
  readonly #timers = new Set<NodeJS.Timeout>();

  /** Timers that run: a few for the whole process, whatever the number of connections (I8). */
  get timers(): number {
    return this.#timers.size;
  }

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  every(intervalMs: number, task: () => void): () => void {
    const timer = setInterval(task, intervalMs).unref();
    this.#timers.add(timer);
    return () => this.#stop(timer);
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      task();
    }, delayMs).unref();
    this.#timers.add(timer);
    return () => this.#stop(timer);
  }

  soon(task: () => void): void {
    setImmediate(task);
  }

  #stop(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
    this.#timers.delete(timer);
  }
}

export const systemClock: SystemClock = new SystemClock();

const restMs = 1;

/**
 * For work in the background: between two slices of it there is a rest. The lowest priority is not enough where there is but
 * one core: Linux leaves the core to whoever has it for up to 4 ms, whoever wakes, and that may be the kernel's own worker
 * that a sync waits for.
 */
class RestingClock extends SystemClock {
  override soon(task: () => void): void {
    setTimeout(task, restMs);
  }
}

export const restingClock: Clock = new RestingClock();
