import { type From, parseCursor, parseFrom } from '@tailrace/protocol';
import type { Clock, Log } from '../log/index.ts';
import { NewestList } from './newest.ts';

/** Where a subscription begins, and what has to be told about it (§3). */
export interface Start {
  /** The cursor the subscription was granted, before any gap or reset. */
  readonly at: Place;
  /** True when a cursor was given and everything after it is there; absent without a cursor. */
  readonly recovered: boolean | undefined;
  /** Reading goes on from `to` instead. */
  readonly jump:
    | { readonly type: 'gap'; readonly to: Place }
    | { readonly type: 'reset'; readonly to: Place; readonly reason: 'epoch' | 'ahead' }
    | undefined;
  /**
   * `from=last`: the records of this list first, then on from its `to`. `at` lies before the first of them, so that a
   * client that goes away in the middle resumes with all that came after the last one it got.
   */
  readonly snapshot: NewestList | undefined;
  /** `from=now`: it may stand where its cohort stands, which is at most a moment behind the head. */
  readonly now: boolean;
}

export interface Place {
  readonly offset: number;
  readonly time: number;
}

export interface StartRequest {
  readonly cursor: string | undefined;
  readonly from: string | undefined;
}

/**
 * Decides where to begin. Answers at once for `now` and for a good cursor, the two cases of a reconnect storm; a promise
 * otherwise. Throws `cursor_invalid`.
 */
export function resolveStart(
  log: Log,
  clock: Clock,
  request: StartRequest,
  newest: (count: number | undefined) => NewestList | Promise<NewestList>,
): Start | Promise<Start> {
  const from = request.from === undefined ? undefined : parseFrom(request.from, clock.now());
  if (request.cursor === undefined) return startFrom(log, from ?? { at: 'now' }, newest);
  const cursor = parseCursor(request.cursor);
  const end = cursor.log === log.id ? log.endOf(cursor.epoch) : undefined;
  const at = { offset: cursor.offset, time: timeOf(log, cursor) };
  if (end !== undefined && cursor.offset <= end) {
    // what an operator gave up as lost is told by `gap` when reading comes by; it must not be denied before (I4)
    const recovered = !log.lost.some(range => range.to > cursor.offset);
    if (cursor.offset >= log.floor) return { at, recovered, jump: undefined, snapshot: undefined, now: false };
    return log
      .positionOf(log.floor)
      .then(to => ({ at, recovered: false, jump: { type: 'gap', to }, snapshot: undefined, now: false }));
  }
  return resetTo(log, cursor.time, end, from).then(to => ({
    at: to,
    recovered: false,
    jump: { type: 'reset', to, reason: end !== undefined && end === log.head.offset ? 'ahead' : 'epoch' },
    snapshot: undefined,
    now: false,
  }));
}

/** The log's own time of a position: the token's would be given back as it came. Below the hot tail it is taken at its word. */
function timeOf(log: Log, { offset, time }: Place): number {
  return offset === log.head.offset ? log.head.time : (log.hot.timeAt(offset) ?? time);
}

// the last good point of the cursor's epoch, else its time, else what `from` says
async function resetTo(log: Log, time: number, end: number | undefined, from: From | undefined): Promise<Place> {
  if (end !== undefined) return log.positionOf(Math.max(end, log.floor));
  if (time > 0) return log.positionAt(time);
  const nothing = (count: number | undefined): NewestList =>
    new NewestList({ count, to: log.head }, new Float64Array());
  const start = await startFrom(log, from ?? { at: 'now' }, nothing);
  return start.jump?.to ?? start.at;
}

function startFrom(
  log: Log,
  from: From,
  newest: (count: number | undefined) => NewestList | Promise<NewestList>,
): Start | Promise<Start> {
  const plain = (at: Place): Start => ({ at, recovered: undefined, jump: undefined, snapshot: undefined, now: false });
  switch (from.at) {
    case 'now':
      return { ...plain(log.head), now: true };
    case 'earliest':
      return fromOffset(log, 0);
    case 'offset':
      return fromOffset(log, from.offset - 1);
    case 'time':
      return log.positionAt(from.time).then(at => (at.offset <= log.floor && log.floor > 0 ? trimmed(at) : plain(at)));
    case 'last':
      return startLast(log, from.count, newest);
  }
}

async function startLast(
  log: Log,
  count: number | undefined,
  newest: (count: number | undefined) => NewestList | Promise<NewestList>,
): Promise<Start> {
  const list = await newest(count);
  const first = list.offsets[0];
  const at = first === undefined ? list.to : await log.positionOf(first - 1);
  const snapshot = first === undefined ? undefined : list;
  return { at, recovered: undefined, jump: undefined, snapshot, now: false };
}

async function fromOffset(log: Log, after: number): Promise<Start> {
  const wanted = Math.min(Math.max(0, after), log.head.offset);
  if (wanted >= log.floor)
    return { at: await log.positionOf(wanted), recovered: undefined, jump: undefined, snapshot: undefined, now: false };
  return trimmed(await log.positionOf(log.floor));
}

/** A beginning that retention has removed is told like any other gap. */
function trimmed(to: Place): Start {
  return {
    at: { offset: 0, time: 0 },
    recovered: undefined,
    jump: { type: 'gap', to },
    snapshot: undefined,
    now: false,
  };
}
