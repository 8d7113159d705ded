import type { IncomingMessage, ServerResponse } from 'node:http';
import { type FilterSet, urlFrom } from '@tailrace/protocol';
import { type QueryValues, queryFilters } from '../api/index.ts';
import type { Start } from '../hub/index.ts';
import type { LogRecord } from '../log/index.ts';
import { joinEnvelopes } from './envelopes.ts';
import type { Gateway } from './gateway.ts';
import type { PollAnswers, PollWait } from './poll-answers.ts';
import { cursorOf } from './poll-cursor.ts';

/** Bytes of records in one answer, about. */
const answerBytes = 256 * 1024;

/** `GET /v1/poll`: all filters are one subscription, answered as `{messages, cursor, more, notices}`. */
export async function pollMessages(
  gateway: Gateway,
  answers: PollAnswers,
  req: IncomingMessage,
  res: ServerResponse,
  query: QueryValues,
  wait: number,
  cors: readonly string[],
): Promise<void> {
  const filters = queryFilters(query.list('filter'), gateway.o.limits);
  const last = req.headers['last-event-id'];
  const cursor = (typeof last === 'string' && last !== '' ? last : undefined) ?? query.text('cursor');
  const from = query.text('from');
  const poll = answers.open(res, wait);
  try {
    const start = await gateway.hub.resolveStart(filters, {
      cursor,
      from: from === undefined ? undefined : urlFrom(from),
    });
    await answer(gateway, poll, filters, start, cors);
  } finally {
    poll.end();
  }
}

async function answer(
  gateway: Gateway,
  poll: PollWait,
  filters: FilterSet,
  start: Start,
  cors: readonly string[],
): Promise<void> {
  const { hub } = gateway;
  const { tokens } = hub;
  const notices: object[] = [];
  const { jump, snapshot } = start;
  if (jump !== undefined) {
    const cursor = tokens.of(jump.to.offset, jump.to.time);
    if (jump.type === 'reset') notices.push({ type: 'reset', cursor, reason: jump.reason });
    else notices.push({ type: 'gap', after: tokens.of(start.at.offset, start.at.time), cursor, reason: 'trimmed' });
  }
  const reader = hub.follow(filters, jump?.to ?? start.at, snapshot, start.told);
  let records: readonly LogRecord[] = [];
  let more = false;
  while (records.length === 0) {
    const after = cursorOf(tokens, reader);
    const read = await reader.read(answerBytes);
    ({ records } = read);
    more = !read.atHead;
    if (read.gap !== undefined) {
      const cursor = tokens.of(read.gap.offset, read.gap.time);
      notices.push({ type: 'gap', after, cursor, reason: 'trimmed' });
    }
    if (read.reset !== undefined)
      notices.push({ type: 'reset', cursor: tokens.of(read.reset.offset, read.reset.time), reason: 'compacted' });
    // what has to be told is told at once
    if (records.length > 0 || poll.over || (notices.length > 0 && !more)) break;
    if (!more) await poll.any([reader]);
    if (poll.gone) return;
  }
  const cursor = cursorOf(tokens, reader);
  for (const { end, topic } of records)
    if (end && filters.exact?.has(topic) === true) notices.push({ type: 'end', topic, cursor });
  if (poll.within !== undefined) notices.push({ type: 'drain', within: poll.within });
  poll.send(
    [
      '{"messages":[',
      joinEnvelopes(records, true),
      `],"cursor":"${cursor}","more":${more},"notices":${JSON.stringify(notices)}}`,
    ],
    ['Tailrace-Cursor', cursor, ...cors],
  );
}
