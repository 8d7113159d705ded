import { errorCode } from '../files/disk.ts';
import { type Damage, LogDamaged } from '../segment/damage.ts';
import type { EraseJob } from './erase-job.ts';
import type { IndexJob } from './index-job.ts';
import type { SweepHost, SweepJob } from './sweep-job.ts';

/** What can be asked of the thread: one at a time or several at once, told apart by `id`. */
export type Task =
  | { readonly kind: 'index'; readonly job: IndexJob }
  | { readonly kind: 'sweep'; readonly job: SweepJob }
  | { readonly kind: 'erase'; readonly job: EraseJob };

export type ToThread =
  | { readonly kind: 'begin'; readonly id: number; readonly task: Task }
  | { readonly kind: 'stop'; readonly id: number }
  | { readonly kind: 'answer'; readonly call: number; readonly outcome: Outcome };

export type FromThread =
  | { readonly kind: 'done'; readonly id: number; readonly outcome: Outcome }
  | {
      readonly kind: 'ask';
      /** The task that asks its host. */
      readonly id: number;
      readonly call: number;
      readonly method: keyof SweepHost;
      readonly argument: unknown;
    };

export type Outcome = { readonly value: unknown } | { readonly error: ErrorState };

/** An error as it goes from one thread to another, which keep no classes. */
export interface ErrorState {
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  /** Of LogDamaged. */
  readonly damaged:
    | { readonly directory: string; readonly damages: readonly Damage[]; readonly hint: string }
    | undefined;
}

export async function outcomeOf(work: () => Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error: errorState(error) };
  }
}

/** Throws what the other side met. */
export function resultOf(outcome: Outcome): unknown {
  if ('error' in outcome) throw errorFrom(outcome.error);
  return outcome.value;
}

function errorState(error: unknown): ErrorState {
  if (!(error instanceof Error))
    return { message: String(error), stack: undefined, code: undefined, damaged: undefined };
  const { message, stack } = error;
  const damaged =
    error instanceof LogDamaged ? { directory: error.directory, damages: error.damages, hint: error.hint } : undefined;
  return { message, stack, code: errorCode(error), damaged };
}

function errorFrom({ message, stack, code, damaged }: ErrorState): Error {
  const error =
    damaged === undefined ? new Error(message) : new LogDamaged(damaged.directory, damaged.damages, damaged.hint);
  if (stack !== undefined) error.stack = stack;
  return code === undefined ? error : Object.assign(error, { code });
}
