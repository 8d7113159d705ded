import { JetStreamApiError } from '@nats-io/jetstream';

/** Numbers of the errors of JetStream that mean something here. */
export const apiError = {
  streamNotFound: 10_059,
  streamNameExists: 10_058,
} as const;

const wrongSequence: ReadonlySet<number> = new Set([10_071, 10_164]);
/** Resources of the account or the server, or a limit of the stream. */
const full: ReadonlySet<number> = new Set([10_002, 10_023, 10_028, 10_047, 10_072, 10_077]);
/** A cluster that chooses leaders, or a batch that came in part. */
const passing: ReadonlySet<number> = new Set([10_164, 10_008, 10_009, 10_176, 10_210]);

export function isWrongSequence(code: number): boolean {
  return wrongSequence.has(code);
}

export function isFull(error: unknown): error is JetStreamApiError {
  return error instanceof JetStreamApiError && full.has(error.code);
}

/** Whether waiting may mend it: all but what JetStream has said itself. */
export function isPassing(error: unknown): boolean {
  return !(error instanceof JetStreamApiError) || passing.has(error.code);
}

/** Of the message that is the newest of a subject, where another was expected. */
export function lastSequenceOf(error: unknown): number | undefined {
  if (!(error instanceof JetStreamApiError) || error.code !== 10_071) return undefined;
  const found = /wrong last sequence: (\d+)/.exec(error.message);
  return found === null ? undefined : Number(found[1]);
}
