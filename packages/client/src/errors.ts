import type { ErrorCode, Problem } from '@tailrace/protocol';

/** Errors that this side finds, beside those that a server sends (docs/errors.md). */
export type ClientErrorCode =
  /** The connection was lost or could not be made; the client tries again by itself. */
  | 'connection_lost'
  /** `close()` was called. */
  | 'closed'
  /** As many publishes wait for the server as `outbox.messages` allows. */
  | 'outbox_full'
  /** The call makes no sense as it is; the message says why. */
  | 'invalid_use';

/** Why something failed. `code` never changes its meaning; `message` is for people. */
export class TailraceError extends Error {
  readonly code: ErrorCode | ClientErrorCode;
  /** What the server said; undefined when this side found it. */
  readonly problem: Problem | undefined;

  constructor(code: ErrorCode | ClientErrorCode, message: string, options?: { problem?: Problem; cause?: unknown }) {
    super(message, options);
    this.name = 'TailraceError';
    this.code = code;
    this.problem = options?.problem;
  }

  /** `unknown`: a publish that failed may have been taken all the same. */
  get outcome(): 'none' | 'unknown' | undefined {
    return this.problem?.outcome;
  }
}

export function errorOf(problem: Problem): TailraceError {
  return new TailraceError(problem.code, problem.detail ?? problem.title, { problem });
}

export function lost(reason: string, cause?: unknown): TailraceError {
  return new TailraceError('connection_lost', reason, { cause });
}
