import { type FilterSet, type From, parseFrom } from '@tailrace/protocol';
import {
  type Clock,
  type Dropped,
  type Fitting,
  type Log,
  type Misfit,
  nothingDropped,
  type Place,
  type Position,
} from '../log/index.ts';
import { beginAnew } from './anew.ts';
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
    | { readonly type: 'reset'; readonly to: Place; readonly reason: ResetReason }
    | undefined;
  /** What rules dropped beyond the beginning, as far as it is told by `jump` or need not be told. */
  readonly told: Dropped;
  /**
   * `from=last`, and after a reset since deletions are dropped: the records of this list first, then on from its `to`. It
   * begins before the first of them, so that a client that goes away in the middle resumes with all that came after the
   * last one it got.
   */
  readonly snapshot: NewestList | undefined;
  /** `from=now`: it may stand where its cohort stands, which is at most a moment behind the head. */
  readonly now: boolean;
}

export type ResetReason = 'epoch' | 'ahead' | 'compacted';

export interface StartRequest {
  readonly cursor: string | undefined;
  readonly from: string | undefined;
}

/** The newest list as of now, or of a position. */
type NewestOf = (count: number | undefined, asOf?: Position) => NewestList | Promise<NewestList>;

/**
 * Decides where to begin. Answers at once for `now` and for a good cursor, the two cases of a reconnect storm; a promise
 * otherwise. Throws `cursor_invalid`.
 */
export function resolveStart(
  log: Log,
  clock: Clock,
  request: StartRequest,
  filters: FilterSet,
  newest: NewestOf,
): Start | Promise<Start> {
  const from = request.from === undefined ? undefined : parseFrom(request.from, clock.now());
  if (request.cursor === undefined) return startFrom(log, from ?? { at: 'now' }, filters, newest);
  const resolved = log.tokens.resolve(request.cursor);
  if (resolved instanceof Promise) return resolved.then(found => startAt(log, found, from, filters, newest));
  return startAt(log, resolved, from, filters, newest);
}

function startAt(
  log: Log,
  cursor: Fitting | Misfit,
  from: From | undefined,
  filters: FilterSet,
  newest: NewestOf,
): Start | Promise<Start> {
  if (!cursor.fits)
    return resetTo(log, cursor, from, filters).then(async to => ({
      at: to,
      recovered: false,
      jump: { type: 'reset', to, reason: cursor.reason },
      told: await log.droppedAfter(to.offset, filters),
      snapshot: undefined,
      now: false,
    }));
  // what an operator gave up as lost is told by `gap` when reading comes by; it must not be denied before (I4)
  const { at, whole: recovered, snapshot = 0, told } = cursor;
  const isTrimmed = log.places.isTrimmed(at.offset);
  // what retention took of a snapshot nobody can go on with: all that is left behind that is read instead
  if (at.offset < snapshot && !isTrimmed) return goOnSnapshot(log, at, recovered, snapshot, filters, newest);
  const dropped = log.droppedAfter(Math.max(at.offset, log.floor), filters);
  if (!isTrimmed && dropped === nothingDropped)
    return { at, recovered, jump: undefined, told: nothingDropped, snapshot: undefined, now: false };
  return resume(log, at, recovered, dropped, filters, newest, told);
}

/** A cursor that still means what it meant, but retention or rules may have taken away what follows it. */
async function resume(
  log: Log,
  at: Place,
  recovered: boolean,
  maybeDropped: Dropped | Promise<Dropped>,
  filters: FilterSet,
  newest: NewestOf,
  toldBefore = 0,
): Promise<Start> {
  const told = await maybeDropped;
  const missing = { at, recovered: false, told, snapshot: undefined, now: false };
  // who may have seen what was deleted since cannot know of it any more
  if (told.deletions > at.offset) {
    const anew = await beginAnew(log, filters, told.deletions, asOf => newest(undefined, asOf));
    return { ...missing, jump: { type: 'reset', to: anew.at, reason: 'compacted' }, snapshot: anew.snapshot };
  }
  if (log.places.isTrimmed(at.offset))
    return { ...missing, jump: { type: 'gap', to: await log.places.behindTrimmed(at.offset) } };
  if (told.records > at.offset)
    return { ...missing, jump: told.records > toldBefore ? { type: 'gap', to: at } : undefined };
  return { ...missing, recovered, jump: undefined };
}

/** The middle of a snapshot as of `to`: its rest follows, unless deletions behind that have gone meanwhile. */
async function goOnSnapshot(
  log: Log,
  at: Place,
  whole: boolean,
  to: number,
  filters: FilterSet,
  newest: NewestOf,
): Promise<Start> {
  const told = await log.droppedAfter(at.offset, filters);
  if (told.deletions > to) return resume(log, at, false, told, filters, newest);
  const snapshot = await newest(undefined, await log.positionOf(to));
  const recovered = whole && told.records <= to;
  return { at, recovered, jump: undefined, told: nothingDropped, snapshot, now: false };
}

// the last good point of the cursor's epoch, else its time, else what `from` says
async function resetTo(
  log: Log,
  { lastGood, time }: Misfit,
  from: From | undefined,
  filters: FilterSet,
): Promise<Place> {
  if (lastGood !== undefined)
    return log.places.isTrimmed(lastGood) ? log.places.behindTrimmed(lastGood) : log.positionOf(lastGood);
  if (time > 0) return log.positionAt(time);
  const nothing: NewestOf = count => new NewestList({ count, to: log.head }, new Float64Array());
  const start = await startFrom(log, from ?? { at: 'now' }, filters, nothing);
  return start.jump?.to ?? start.at;
}

function startFrom(log: Log, from: From, filters: FilterSet, newest: NewestOf): Start | Promise<Start> {
  switch (from.at) {
    case 'now':
      return { ...begin(log.head, undefined, nothingDropped), now: true };
    case 'earliest':
      return fromOffset(log, 0, filters);
    case 'offset':
      return fromOffset(log, from.offset - 1, filters);
    case 'time':
      return log
        .positionAt(from.time)
        .then(at => (log.places.isAtFloor(at.offset, from.time) ? trimmed(log, at, filters) : whole(log, at, filters)));
    case 'last':
      return startLast(log, from.count, newest);
  }
}

async function startLast(log: Log, count: number | undefined, newest: NewestOf): Promise<Start> {
  const list = await newest(count);
  const first = list.offsets[0];
  const at = first === undefined ? list.to : await log.positionOf(first - 1);
  const snapshot = first === undefined ? undefined : list;
  return { ...begin(at, undefined, nothingDropped), snapshot };
}

async function fromOffset(log: Log, offset: number, filters: FilterSet): Promise<Start> {
  const after = Math.max(0, offset);
  let wanted = await log.places.beginning(after);
  if (wanted.offset < after) {
    // another node may have what this one has not yet
    await log.upToDate();
    wanted = await log.places.beginning(after);
    if (wanted.offset < after) return begin(wanted, { type: 'reset', to: wanted, reason: 'ahead' }, nothingDropped);
  }
  return log.places.isTrimmed(wanted.offset)
    ? trimmed(log, await log.places.behindTrimmed(wanted.offset), filters)
    : whole(log, wanted, filters);
}

/** A beginning that retention has not reached; rules may have dropped what follows all the same. */
async function whole(log: Log, at: Place, filters: FilterSet): Promise<Start> {
  const told = await log.droppedAfter(at.offset, filters);
  return begin(at, told.records > at.offset ? { type: 'gap', to: at } : undefined, told);
}

/** A beginning that retention has removed is told like any other gap. */
async function trimmed(log: Log, to: Place, filters: FilterSet): Promise<Start> {
  return begin({ offset: 0, time: 0 }, { type: 'gap', to }, await log.droppedAfter(to.offset, filters));
}

function begin(at: Place, jump: Start['jump'], told: Dropped): Start {
  return { at, recovered: undefined, jump, told, snapshot: undefined, now: false };
}
