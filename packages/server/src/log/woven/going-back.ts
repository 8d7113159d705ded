import { TailraceError } from '@tailrace/protocol';

/** A partition that has less than came from it is going back. */
export function goingBack(): TailraceError {
  return new TailraceError(
    'log_rewound',
    'the log is losing its newest records; read on from the last cursor, which is told what became of it',
    { retryAfter: 100 },
  );
}
