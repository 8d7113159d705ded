import { type FilterSet, type InputLimits, TailraceError } from '@tailrace/protocol';
import type { Hub } from '../../hub/index.ts';
import type { LogRecord, Position } from '../../log/index.ts';
import { filterParameter, queryFilters } from '../filters.ts';
import type { ApiRoute, answered, Call } from '../route.ts';
import { envelopeSchema } from '../schemas.ts';
import { answerLines, type EnvelopeLines, type EnvelopeLinesOptions, stretchBytes } from './envelope-lines.ts';

export interface StateOptions extends EnvelopeLinesOptions {
  readonly limits: InputLimits;
}

/** `GET /v1/state` (§6): what is current, as NDJSON envelopes. */
export function stateRoute(options: StateOptions): ApiRoute {
  return {
    method: 'GET',
    path: '/v1/state',
    summary: 'Read what is current: the newest record of each key of tables, and of each other topic',
    tag: 'read',
    query: {
      filter: filterParameter,
      key: {
        type: 'text',
        many: true,
        description: 'only the newest record of this key, repeatable; the filters name topics then, tables or not',
      },
      limit: { type: 'integer', min: 1, max: 1_000_000_000, description: 'messages at most' },
      cursor: { type: 'text', description: 'with after: `cursor` of the page before' },
      after: { type: 'integer', description: 'with cursor: `after` of the page before' },
    },
    answers: {
      200: {
        description:
          'envelopes in order of offset, one a line; the last line is `{"done":true,"cursor":…,"more":…}`: what changes follows `cursor`; where there is more it has `after`, which asks for the next page together with `cursor`',
        contentType: 'application/x-ndjson',
        schema: envelopeSchema,
      },
    },
    errors: ['filter_invalid', 'too_many_filters', 'cursor_invalid', 'log_damaged'],
    handle: call => state(call, options),
  };
}

async function state(call: Call, options: StateOptions): Promise<typeof answered> {
  const { query } = call;
  const { hub, limits } = options;
  const filters = queryFilters(query.list('filter'), limits);
  const keys = query.list('key');
  const page = await pageOf(hub, query.text('cursor'), query.integer('after'));
  if (keys.length > 0) checkKeys(filters, keys, page, limits);
  const limit = query.integer('limit') ?? Number.POSITIVE_INFINITY;
  return answerLines(call, options, out =>
    keys.length > 0 ? writeKeys(hub, filters, keys, out) : writeState(hub, filters, page, limit, out),
  );
}

interface Page {
  readonly to: Position | undefined;
  readonly after: number;
}

async function pageOf(hub: Hub, token: string | undefined, after: number | undefined): Promise<Page> {
  if ((token === undefined) !== (after === undefined)) {
    const [missing, given] = token === undefined ? ['cursor', 'after'] : ['after', 'cursor'];
    throw new TailraceError(
      'bad_request',
      `query parameter ${missing} is missing: ${given} goes with it, both as the last line of the page before has them`,
      { at: { field: missing } },
    );
  }
  if (token === undefined) return { to: undefined, after: 0 };
  const cursor = await hub.log.tokens.resolve(token);
  if (!cursor.fits)
    throw new TailraceError(
      'cursor_invalid',
      'cursor is not one of this log any more: begin with the first page again',
      {
        at: { field: 'cursor' },
      },
    );
  return { to: { epoch: hub.log.epochOf(cursor.at.offset), ...cursor.at }, after: after! };
}

function checkKeys(filters: FilterSet, keys: readonly string[], { to }: Page, limits: InputLimits): void {
  const at = { field: 'key' };
  if (filters.exact === null)
    throw new TailraceError('bad_request', 'key asks for keys of topics: filter has a wildcard', { at });
  if (to !== undefined)
    throw new TailraceError('bad_request', 'an answer to key has one page: leave out cursor and after', { at });
  if (keys.length > limits.filters)
    throw new TailraceError('bad_request', `key is given ${keys.length} times, ${limits.filters} are allowed`, { at });
}

interface End {
  readonly cursor: string;
  readonly more: boolean;
  readonly after?: number;
}

async function writeState(hub: Hub, filters: FilterSet, page: Page, limit: number, out: EnvelopeLines): Promise<End> {
  const reader = await hub.state(filters, page.to, page.after);
  let written = 0;
  let last = page.after;
  let more = false;
  while (!more && !reader.atEnd && !out.gone) {
    const records = await reader.read(stretchBytes);
    const shown = records.slice(0, limit - written);
    more = shown.length < records.length;
    if (shown.length === 0) continue;
    written += shown.length;
    last = shown[shown.length - 1]!.offset;
    await out.write(shown);
  }
  const cursor = hub.tokens.of(reader.to.offset, reader.to.time);
  return more ? { cursor, more, after: last } : { cursor, more };
}

async function writeKeys(hub: Hub, filters: FilterSet, keys: readonly string[], out: EnvelopeLines): Promise<End> {
  const { log } = hub;
  // before the first is looked up: what changes meanwhile may come twice, and is never missed
  const { offset, time } = log.head;
  const found: number[] = [];
  for (const topic of filters.exact!) {
    for (const key of new Set(keys)) {
      const newest = await log.keyAt(topic, key);
      if (newest > 0) found.push(newest);
    }
  }
  const offsets = Float64Array.from(found).sort();
  for (let at = 0; at < offsets.length && !out.gone; ) {
    const records: readonly LogRecord[] = await log.recordsAt(offsets.subarray(at), stretchBytes);
    if (records.length === 0) break;
    await out.write(records);
    at = offsets.indexOf(records[records.length - 1]!.offset) + 1;
  }
  return { cursor: hub.tokens.of(offset, time), more: false };
}
