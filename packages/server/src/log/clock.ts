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

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  every(intervalMs, task) {
    const timer = setInterval(task, intervalMs).unref();
    return () => clearInterval(timer);
  },
  after(delayMs, task) {
    const timer = setTimeout(task, delayMs).unref();
    return () => clearTimeout(timer);
  },
  soon: task => {
    setImmediate(task);
  },
};
