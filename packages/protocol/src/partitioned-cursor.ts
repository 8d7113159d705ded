import { cursorInvalid, cursorTokenMaxBytes } from './cursor.ts';

/** A point of a log of several partitions: one offset for each that it names. What it does not name is read from `time` on. */
export interface PartitionedCursor {
  readonly log: string;
  /** ms since 1970 UTC of the newest record up to there. */
  readonly time: number;
  /** Ascending by partition. */
  readonly entries: readonly PartitionEntry[];
  /** Set while a snapshot as of the entries is read by requests of their own (poll): it has been read up to here. */
  readonly snapshot?: Pick<PartitionEntry, 'partition' | 'offset'> | undefined;
}

export interface PartitionEntry {
  readonly partition: number;
  readonly epoch: number;
  readonly offset: number;
}

/**
 * Token layout 2: `w<log>.<time>.<entries>[.s<partition>-<offset>]`, numbers in base 36. An entry is `O<offset>`, with
 * `P<partition>` before it where that is not the one after the last and `E<epoch>` where the epoch is another than the
 * last: those of one server share theirs, and 256 partitions must fit into a token.
 */
const pattern =
  /^w([a-z0-9]{4,16})\.([0-9a-z]{1,11})\.((?:(?:P[0-9a-z]{1,11})?(?:E[0-9a-z]{1,11})?O[0-9a-z]{1,11})*)(?:\.s([0-9a-z]{1,11})-([0-9a-z]{1,11}))?$/;
const entryPattern = /(?:P([0-9a-z]+))?(?:E([0-9a-z]+))?O([0-9a-z]+)/g;

/** The token; entries for which it has no room are left out, so that their partitions are read from its time on. */
export function formatPartitionedCursor({ log, time, entries, snapshot }: PartitionedCursor): string {
  const head = `w${log}.${time.toString(36)}.`;
  const tail = snapshot === undefined ? '' : `.s${snapshot.partition.toString(36)}-${snapshot.offset.toString(36)}`;
  let text = head;
  let next = 0;
  let epochBefore = -1;
  for (const { partition, epoch, offset } of entries) {
    let entry = partition === next ? '' : `P${partition.toString(36)}`;
    if (epoch !== epochBefore) entry += `E${epoch.toString(36)}`;
    entry += `O${offset.toString(36)}`;
    if (text.length + entry.length + tail.length > cursorTokenMaxBytes) break;
    text += entry;
    next = partition + 1;
    epochBefore = epoch;
  }
  return text + tail;
}

/** Whether a token is of layout 2, as far as its first letter tells. */
export function isPartitioned(token: string): boolean {
  return token.startsWith('w');
}

/** Reads a token of layout 2; throws `cursor_invalid` when no server can have made it. */
export function parsePartitionedCursor(token: string): PartitionedCursor {
  const match = token.length <= cursorTokenMaxBytes ? pattern.exec(token) : null;
  if (match === null) throw cursorInvalid(token, 'is not one that Tailrace sent; pass cursors back unchanged');
  const entries: PartitionEntry[] = [];
  let partition = -1;
  let epoch = 0;
  for (const [, jump, newEpoch, offset] of match[3]!.matchAll(entryPattern)) {
    const named = jump === undefined ? partition + 1 : safe(token, jump);
    if (named <= partition) throw cursorInvalid(token, 'names a partition twice; pass cursors back unchanged');
    partition = named;
    if (newEpoch !== undefined) epoch = safe(token, newEpoch);
    entries.push({ partition, epoch, offset: safe(token, offset!) });
  }
  const snapshot =
    match[4] === undefined ? {} : { snapshot: { partition: safe(token, match[4]), offset: safe(token, match[5]!) } };
  return { log: match[1]!, time: safe(token, match[2]!), entries, ...snapshot };
}

function safe(token: string, digits: string): number {
  const number = Number.parseInt(digits, 36);
  if (!Number.isSafeInteger(number)) throw cursorInvalid(token, 'holds a number beyond 2^53');
  return number;
}
