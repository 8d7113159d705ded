import { filterSet, formatCursor } from '@tailrace/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type DiskLog, openDiskLog } from '../../src/log/index.ts';
import { startApi } from '../api/api-server.ts';
import { ManualClock } from '../log/manual-clock.ts';
import { message } from '../log/messages.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { Rooms } from './harness.ts';
import { SseClient } from './sse-client.ts';
import { WsClient } from './ws-client.ts';

const day = 24 * 60 * 60 * 1000;
const rows = 300;

interface Row {
  readonly key: string;
  readonly offset: number;
  readonly data?: unknown;
}

let log: DiskLog;
let cursor: string;
/** What the table holds at the end. */
let held: Map<string, number>;

const put = async (key: string, data = `"${'x'.repeat(2000)}"`): Promise<number> => {
  const [result] = await log.append([message('table', data, { key })], 'written');
  if (result === undefined || 'error' in result) throw new Error('refused');
  if (data === '') held.delete(key);
  else held.set(key, result.offset);
  return result.offset;
};

/** A table from which a deletion was dropped, and a cursor from before that. Some rows change later. */
beforeEach(async () => {
  const clock = new ManualClock();
  held = new Map();
  log = await openDiskLog({
    directory: temporaryDirectory(),
    clock,
    hotBytes: 1,
    segmentBytes: 64 * 1024,
    dedupe: { ids: 0, ageMs: 0 },
    keep: { rules: [{ filter: 'table', lastPerKey: true }], tombstoneAgeMs: day },
  });
  const first = await put('gone');
  for (let i = 0; i < rows; i++) await put(`r${i}`);
  cursor = formatCursor({ log: log.id, epoch: log.epochOf(first), offset: first, time: clock.wall });
  await put('gone', '');
  for (let i = 0; i < 100; i++) await log.append([message('other', `"${'.'.repeat(1000)}"`)], 'written');
  await log.compact();
  clock.advance(2 * day);
  await log.compact();
  await put('r1', '"changed"');
  await put('r2', '');
  await put('new', '"1"');
});
afterEach(() => log.close());

/** Applied in their order, the records lead to the table. */
function leadsToTheTable(records: readonly Row[]): void {
  const state = new Map<string, number>();
  for (const { key, offset, data } of records) {
    if (data === undefined) state.delete(key);
    else state.set(key, offset);
  }
  expect(state).toEqual(held);
}

describe('a cursor from before deletions of a table that are dropped', () => {
  it('is reset over SSE, and the table follows', async () => {
    const rooms = await Rooms.open({ log });
    const client = await SseClient.open(rooms.port, `filter=table&cursor=${cursor}`);
    await client.notice('live');
    expect(client.notices('reset')).toMatchObject([{ reason: 'compacted' }]);
    expect(client.notices('subscribed')).toMatchObject([{ recovered: false }]);
    expect(client.notices('gap')).toEqual([]);
    leadsToTheTable(client.messages.map(({ data }) => JSON.parse(data!) as Row));
    client.close();
    await rooms.close();
  });

  it('is reset over WebSocket, and the table follows; also when other topics are read too', async () => {
    const rooms = await Rooms.open({ log });
    for (const filter of [['table'], ['#']]) {
      const client = await WsClient.open(rooms.port);
      await client.ask({ type: 'subscribe', ref: 1, subscriptions: [{ filter, sub: 's', cursor }] });
      await client.first('live');
      expect(client.of('reset')).toMatchObject([{ reason: 'compacted' }]);
      const messages = client.of('messages') as unknown as { after: string; cursor: string; messages: Row[] }[];
      let at = client.of('reset')[0]!.cursor;
      for (const frame of messages) {
        expect(frame.after).toBe(at);
        at = frame.cursor;
      }
      leadsToTheTable(messages.flatMap(frame => frame.messages).filter(({ key }) => key !== undefined));
      client.close();
    }
    await rooms.close();
  });

  it('is reset once over GET poll, whose answers are the pages of the table', async () => {
    await using server = await startApi({ log });
    const records: Row[] = [];
    const notices: unknown[] = [];
    let polls = 0;
    for (let at = cursor, more = true; more; polls++) {
      const response = await fetch(`${server.url}/v1/poll?filter=table&wait=0&cursor=${at}`);
      const answer = (await response.json()) as { messages: Row[]; cursor: string; more: boolean; notices: object[] };
      records.push(...answer.messages);
      notices.push(...answer.notices);
      ({ cursor: at, more } = answer);
    }
    expect(polls).toBeGreaterThan(2);
    expect(notices).toMatchObject([{ type: 'reset', reason: 'compacted' }]);
    leadsToTheTable(records);
    // each row came once, and then what changed
    expect(records).toHaveLength(rows - 2 + 3);
  });

  it('is reset once over POST poll, and the chain of cursors holds', async () => {
    await using server = await startApi({ log });
    const records: Row[] = [];
    let resets = 0;
    for (let at = cursor, live = false; !live; ) {
      const subscription = { filter: 'table', sub: 's', cursor: at };
      const response = await fetch(`${server.url}/v1/poll?wait=0`, {
        method: 'POST',
        body: JSON.stringify({ subscribe: [subscription] }),
      });
      const { frames } = (await response.json()) as {
        frames: { type: string; after?: string; cursor: string; messages?: Row[] }[];
      };
      expect(frames[0]).toMatchObject({ type: 'subscribed', cursor: at });
      for (const frame of frames) {
        if (frame.after !== undefined) expect(frame.after).toBe(at);
        at = frame.cursor;
        records.push(...(frame.messages ?? []));
        if (frame.type === 'reset') resets++;
        if (frame.type === 'live') live = true;
        expect(frame.type).not.toBe('gap');
      }
    }
    expect(resets).toBe(1);
    leadsToTheTable(records);
  });

  it('is reset for a pull in the middle of its reading as well', async () => {
    await using server = await startApi({ log });
    const reader = server.hub.follow(filterSet(['table']), { offset: 1, time: 0 });
    const records: Row[] = [];
    let resets = 0;
    for (let more = true; more; ) {
      const read = await reader.read(100_000);
      if (read.reset !== undefined) {
        resets++;
        records.length = 0;
      }
      for (const { key, offset, data } of read.records)
        records.push({ key: key!, offset, ...(data.length === 0 ? {} : { data }) });
      more = !read.atHead;
    }
    expect(resets).toBe(1);
    leadsToTheTable(records);
  });

  it('in the middle of a snapshot goes on with the rest of it, unless more deletions went', async () => {
    await using server = await startApi({ log });
    const first = (await (await fetch(`${server.url}/v1/poll?filter=table&wait=0&from=last`)).json()) as {
      messages: Row[];
      cursor: string;
    };
    expect(first.messages.length).toBeLessThan(rows);
    const rest: Row[] = [];
    for (let at = first.cursor, more = true; more; ) {
      const answer = (await (await fetch(`${server.url}/v1/poll?filter=table&wait=0&cursor=${at}`)).json()) as {
        messages: Row[];
        cursor: string;
        more: boolean;
        notices: object[];
      };
      expect(answer.notices).toEqual([]);
      rest.push(...answer.messages);
      ({ cursor: at, more } = answer);
    }
    leadsToTheTable([...first.messages, ...rest]);
    expect(first.messages.length + rest.length).toBe(held.size);
  });
});
