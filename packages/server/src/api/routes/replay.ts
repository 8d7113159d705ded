import { type FilterSet, type InputLimits, isTailraceError, parseFrom, urlFrom } from '@tailrace/protocol';
import type { Hub, Start } from '../../hub/index.ts';
import type { Dropped, Log, LogRecord, Place } from '../../log/index.ts';
import { filterParameter, queryFilters } from '../filters.ts';
import type { ApiRoute, answered, Call } from '../route.ts';
import { envelopeSchema } from '../schemas.ts';
import { answerLines, type EnvelopeLines, type EnvelopeLinesOptions, stretchBytes } from './envelope-lines.ts';
import { newestFirst } from './newest.ts';

export interface ReplayOptions extends EnvelopeLinesOptions {
  readonly limits: InputLimits;
}

/** `GET /v1/log` (§6): what the log holds, as NDJSON envelopes, up to the head of the moment it began. */
export function replayRoute(options: ReplayOptions): ApiRoute {
  return {
    method: 'GET',
    path: '/v1/log',
    summary: 'Replay what the log holds',
    tag: 'read',
    query: {
      filter: filterParameter,
      from: {
        type: 'text',
        default: 'earliest',
        description: 'a cursor, now, earliest, last, last:N, an RFC 3339 time, -5m or @<offset>',
      },
      to: { type: 'text', description: 'a cursor, an RFC 3339 time, -5m, @<offset> or now: the default' },
      limit: { type: 'integer', min: 1, max: 1_000_000_000, description: 'messages at most' },
      order: { type: 'choice', choices: ['oldest', 'newest'], default: 'oldest', description: 'which come first' },
    },
    answers: {
      200: {
        description:
          'envelopes, one a line; the last line is `{"done":true,"cursor":…,"before":…,"more":…}`: `cursor` continues, `before` pages back with `to=<before>&order=newest`',
        contentType: 'application/x-ndjson',
        schema: envelopeSchema,
      },
    },
    errors: ['filter_invalid', 'too_many_filters', 'cursor_invalid', 'log_damaged'],
    handle: call => replay(call, options),
  };
}

async function replay(call: Call, options: ReplayOptions): Promise<typeof answered> {
  const { query } = call;
  const { hub, limits } = options;
  const filters = queryFilters(query.list('filter'), limits);
  const until = query.text('to');
  const [start, to] = await range(
    hub,
    filters,
    urlFrom(query.text('from')!),
    until === undefined ? undefined : urlFrom(until),
  );
  const limit = query.integer('limit');
  return answerLines(call, options, async out => {
    const end =
      query.text('order') === 'newest'
        ? await writeNewest(hub, filters, start, to, limit ?? 100, out)
        : await writeOldest(hub, filters, start, to, limit ?? Number.POSITIVE_INFINITY, out);
    return { ...toldJump(hub, start), ...end };
  });
}

interface End {
  /** Where reading went on behind records that are gone; the last place when there were several. */
  readonly gap?: { readonly cursor: string; readonly reason: 'trimmed' };
  readonly cursor: string;
  readonly before: string;
  readonly more: boolean;
}

/** Where reading begins, and the offset up to which it goes. */
async function range(hub: Hub, filters: FilterSet, from: string, to: string | undefined): Promise<[Start, number]> {
  const { log } = hub;
  const start = await hub.resolveStart(
    filters,
    isCursor(from) ? { cursor: from, from: undefined } : { cursor: undefined, from },
  );
  const head = log.head.offset;
  if (to === undefined) return [start, head];
  return upTo(log, start, Math.min(head, await endOf(hub, to, head)));
}

async function endOf(hub: Hub, to: string, head: number): Promise<number> {
  const { log, clock } = hub;
  if (isCursor(to)) return endOfCursor(log, to);
  const until = parseFrom(to, clock.now(), 'to');
  if (until.at === 'offset') return (await log.places.beginning(until.offset)).offset;
  if (until.at === 'time') return (await log.positionAt(until.time)).offset;
  return until.at === 'earliest' ? 0 : head;
}

/** The stretch from where `start` leads to `end`, as the log counts such a one. */
function upTo(log: Log, start: Start, end: number): [Start, number] {
  const { at, jump, snapshot } = start;
  if (snapshot !== undefined) return [start, end];
  const [from, to] = log.places.between((jump?.to ?? at).offset, end);
  if (jump === undefined) return [{ ...start, at: { ...at, offset: from } }, to];
  return [{ ...start, jump: { ...jump, to: { ...jump.to, offset: from } } }, to];
}

// a time may have a dot too, but begins with a digit
function isCursor(text: string): boolean {
  return /^[a-z].*\./i.test(text);
}

/** Where reading up to a cursor ends: at the last point that it still means, or at its time. */
async function endOfCursor(log: Log, token: string): Promise<number> {
  try {
    const cursor = await log.tokens.resolve(token);
    if (cursor.fits) return cursor.at.offset;
    return cursor.lastGood ?? (await log.positionAt(cursor.time)).offset;
  } catch (error) {
    throw isTailraceError(error) ? error.placed({ field: 'to' }) : error;
  }
}

function beginning({ at, jump, snapshot }: Start): { offset: number; time: number } {
  return jump?.to ?? snapshot?.to ?? at;
}

/** What is not there any more is told, in the last line (I4). */
function toldJump(hub: Hub, { at, jump }: Start): object {
  if (jump === undefined || (jump.type === 'reset' && jump.to.offset === 0)) return {};
  // what rules dropped is told of the part that was read
  if (jump.type === 'gap') return jump.to.offset === at.offset ? {} : toldGap(hub, jump.to);
  return { reset: { cursor: hub.tokens.of(jump.to.offset, jump.to.time), reason: jump.reason } };
}

function toldGap(hub: Hub, to: Place): { gap: { cursor: string; reason: 'trimmed' } } {
  return { gap: { cursor: hub.tokens.of(to.offset, to.time), reason: 'trimmed' } };
}

/** What rules dropped of a part that was read, which begins at `from`. */
async function toldDropped(hub: Hub, filters: FilterSet, { jump }: Start, from: Place, to: number): Promise<object> {
  if (jump?.type === 'reset') return {};
  const { records } = await hub.log.droppedAfter(from.offset, filters, to);
  return records > from.offset ? toldGap(hub, from) : {};
}

/** The reader need not tell it. */
const toldAtTheEnd: Dropped = { records: Number.POSITIVE_INFINITY, deletions: Number.POSITIVE_INFINITY };

async function writeOldest(
  hub: Hub,
  filters: FilterSet,
  start: Start,
  to: number,
  limit: number,
  out: EnvelopeLines,
): Promise<End> {
  const reader = hub.reader(filters, start.jump?.to ?? start.at, start.snapshot, toldAtTheEnd);
  let first: { offset: number; time: number } | undefined;
  let last = beginning(start);
  let written = 0;
  let more = false;
  let skipped: Place | undefined;
  const take = async (records: readonly LogRecord[]): Promise<void> => {
    const left = limit - written;
    more = records.length > left;
    const shown = more ? records.slice(0, left) : records;
    if (shown.length === 0) return;
    first ??= shown[0]!;
    last = shown[shown.length - 1]!;
    written += shown.length;
    await out.write(shown);
  };
  while (!more && reader.offset < to && !out.gone) {
    const { records, gap } = await reader.read(stretchBytes, to);
    skipped = gap ?? skipped;
    await take(records);
  }
  const reached = more
    ? last
    : { offset: Math.max(reader.offset, last.offset), time: Math.max(reader.time, last.time) };
  const before = first === undefined ? beginning(start) : { offset: first.offset - 1, time: first.time };
  return {
    cursor: hub.tokens.of(reached.offset, reached.time),
    before: hub.tokens.of(before.offset, before.time),
    more,
    ...(await toldDropped(hub, filters, start, beginning(start), reached.offset)),
    ...(skipped === undefined ? {} : toldGap(hub, skipped)),
  };
}

async function writeNewest(
  hub: Hub,
  filters: FilterSet,
  start: Start,
  to: number,
  limit: number,
  out: EnvelopeLines,
): Promise<End> {
  const from = beginning(start);
  const { records, more } = await newestFirst(hub.log, filters, from.offset, to, limit, () => out.gone);
  for (let at = 0; at < records.length && !out.gone; ) {
    const stretch: LogRecord[] = [];
    let bytes = 0;
    while (at < records.length && bytes < stretchBytes) {
      bytes += records[at]!.weight;
      stretch.push(records[at++]!);
    }
    await out.write(stretch);
  }
  const end = await hub.log.positionOf(to);
  const oldest = records[records.length - 1];
  const before = oldest === undefined ? from : { offset: oldest.offset - 1, time: oldest.time };
  const lost = hub.log.places.lostBetween(before.offset, to);
  const skipped = lost === undefined ? undefined : await hub.log.positionOf(lost);
  return {
    cursor: hub.tokens.of(Math.max(to, from.offset), Math.max(end.time, from.time)),
    before: hub.tokens.of(before.offset, before.time),
    more,
    ...(await toldDropped(hub, filters, start, more ? before : from, to)),
    ...(skipped === undefined ? {} : toldGap(hub, skipped)),
  };
}
