import { TailraceError } from '@tailrace/protocol';

/** For who was reading while the log went back: what was read and where it led may not be in the log any more. */
export function logRewound(): TailraceError {
  return new TailraceError(
    'log_rewound',
    'the log lost its newest records meanwhile; read on from the last cursor, which is told what became of it',
    { retryAfter: 100 },
  );
}
