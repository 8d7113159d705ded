import type { Pause } from '../index/index-writer.ts';

/** Does work step by step, of which each says how much it was, and pauses between. */
export async function inSlices<T>(work: Generator<number, T>, pause: Pause): Promise<T> {
  for (let step = work.next(); ; step = work.next()) {
    if (step.done === true) return step.value;
    const waiting = pause(step.value);
    if (waiting !== undefined) await waiting;
  }
}

/** Does all of it now. */
export function atOnce<T>(work: Generator<number, T>): T {
  for (let step = work.next(); ; step = work.next()) if (step.done === true) return step.value;
}
