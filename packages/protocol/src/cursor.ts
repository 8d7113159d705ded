import { TailraceError } from './errors.ts';

/**
 * The point up to which a log has been read (§3). `offset` is that of the last record read, 0 before the first;
 * `time` (integer ms since 1970 UTC) is that record's, so that another log can be read from about the same point.
 */
export interface Cursor {
  /** Id of the log: 4–16 characters of [a-z0-9]. */
  readonly log: string;
  readonly epoch: number;
  readonly offset: number;
  readonly time: number;
  /**
   * Set while a snapshot is read by requests of their own (poll): it is as of this offset, and has been read up to
   * `offset`. It is in the epoch of the cursor too.
   */
  readonly snapshot?: number | undefined;
  /** A gap was told to who polls, since something up to this offset is dropped: it need not be told again. */
  readonly told?: number | undefined;
}

/**
 * Token layout 1, for a log with one partition: `k<log>.<epoch base 36>.<offset>.<time base 36>[.<snapshot>|.t<told>]`.
 * Other first letters are those of other layouts.
 */
const pattern = /^k([a-z0-9]{4,16})\.([0-9a-z]{1,10})\.([0-9]{1,16})\.([0-9a-z]{1,10})(?:\.(t?)([0-9]{1,16}))?$/;

/** Longest token a server sends or reads: 256 partitions, each in an epoch of its own, have room. */
export const cursorTokenMaxBytes = 4096;

export function formatCursor(cursor: Cursor): string {
  const { log, epoch, offset, time, snapshot, told } = cursor;
  const more = snapshot === undefined ? (told === undefined ? '' : `.t${told}`) : `.${snapshot}`;
  return cursorPrefix(log, epoch) + cursorSuffix(offset, time) + more;
}

/** First half of a token; constant for all records of an epoch, so encoders keep it. */
export function cursorPrefix(log: string, epoch: number): string {
  return `k${log}.${epoch.toString(36)}.`;
}

export function cursorSuffix(offset: number, time: number): string {
  return `${offset}.${time.toString(36)}`;
}

/** Reads a token of layout 1; throws `cursor_invalid` when no server can have made it. Whether it still fits is the log's word. */
export function parseCursor(token: string): Cursor {
  const match = token.length <= cursorTokenMaxBytes ? pattern.exec(token) : null;
  if (match === null) throw cursorInvalid(token, 'is not one that Tailrace sent; pass cursors back unchanged');
  const cursor: Cursor = {
    log: match[1]!,
    epoch: Number.parseInt(match[2]!, 36),
    offset: Number(match[3]),
    time: Number.parseInt(match[4]!, 36),
    ...(match[6] === undefined ? {} : { [match[5] === 't' ? 'told' : 'snapshot']: Number(match[6]) }),
  };
  if (
    !Number.isSafeInteger(cursor.epoch) ||
    !Number.isSafeInteger(cursor.offset) ||
    !Number.isSafeInteger(cursor.time) ||
    !Number.isSafeInteger(cursor.snapshot ?? cursor.told ?? 0)
  )
    throw cursorInvalid(token, 'holds a number beyond 2^53');
  return cursor;
}

/** `what`: what is wrong with it. */
export function cursorInvalid(token: string, what: string): TailraceError {
  return new TailraceError('cursor_invalid', `cursor ${JSON.stringify(token.slice(0, 80))} ${what}`);
}
