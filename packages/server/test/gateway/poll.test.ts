import { formatCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { openMemoryLog } from '../../src/log/index.ts';
import { type ApiServer, besideOthers, RawClient, startApi, until } from '../api/api-server.ts';

interface Answer {
  readonly messages: { readonly topic: string; readonly offset: number; readonly data: unknown }[];
  readonly cursor: string;
  readonly more: boolean;
  readonly notices: {
    readonly type: string;
    readonly reason?: string;
    readonly cursor?: string;
    readonly after?: string;
  }[];
}

interface Frame {
  readonly type: string;
  readonly sub?: string;
  readonly after?: string;
  readonly cursor?: string;
  readonly recovered?: boolean;
  readonly code?: string;
  readonly at?: { readonly index: number };
  readonly messages?: { readonly offset: number; readonly data: unknown }[];
}

async function publish(server: ApiServer, ...messages: object[]): Promise<void> {
  const response = await fetch(`${server.url}/v1/publish`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: messages.map(message => JSON.stringify(message)).join('\n'),
  });
  expect(await response.text()).toContain('"done":true');
}

const numbered = (topic: string, from: number, to: number): object[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({ topic, data: from + i }));

async function poll(server: ApiServer, query: string, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${server.url}/v1/poll?${query}`, { headers });
  expect(response.status).toBe(200);
  const answer = (await response.json()) as Answer;
  expect(response.headers.get('tailrace-cursor')).toBe(answer.cursor);
  expect(response.headers.get('cache-control')).toBe('no-store');
  expect(Object.keys(answer)).toEqual(['messages', 'cursor', 'more', 'notices']);
  return answer;
}

const waiting = (server: ApiServer): number => server.gateway.connections.size;

describe('GET /v1/poll', () => {
  it('gives what is there, then waits for what comes', async () => {
    await using server = await startApi();
    await publish(server, ...numbered('t', 1, 3), { topic: 'other', data: 9 });
    const first = await poll(server, 'filter=t&from=earliest');
    expect(first.messages.map(({ data }) => data)).toEqual([1, 2, 3]);
    expect(first).toMatchObject({ more: false, notices: [] });
    const next = poll(server, `filter=t&cursor=${first.cursor}`);
    await until(() => waiting(server) === 1);
    await publish(server, { topic: 'other', data: 9 });
    expect(waiting(server)).toBe(1);
    await publish(server, { topic: 't', data: 4 });
    expect((await next).messages).toMatchObject([{ topic: 't', offset: 6, data: 4 }]);
    expect(waiting(server)).toBe(0);
  });

  it('begins now without a cursor, and answers an empty wait with a cursor that moved', async () => {
    await using server = await startApi();
    await publish(server, { topic: 't', data: 1 });
    const empty = await poll(server, 'filter=t&wait=0');
    expect(empty).toMatchObject({ messages: [], more: false, notices: [] });
    await publish(server, { topic: 'other', data: 1 }, { topic: 't', data: 2 }, { topic: 'other', data: 1 });
    const got = await poll(server, `filter=t&wait=0&cursor=${empty.cursor}`);
    expect(got.messages.map(({ data }) => data)).toEqual([2]);
    expect(got.cursor).toBe(server.hub.tokens.of(4, server.log.head.time));
    expect((await poll(server, `filter=t&wait=50&cursor=${got.cursor}`)).messages).toEqual([]);
  });

  it('gives a long backlog in pieces, each once', async () => {
    await using server = await startApi();
    for (let i = 0; i < 10; i++)
      await publish(
        server,
        ...Array.from({ length: 100 }, (_, n) => ({ topic: `t/${n % 7}`, data: `${i * 100 + n} ${'x'.repeat(1000)}` })),
      );
    const seen: number[] = [];
    let query = 'filter=t/%23&from=earliest';
    let rounds = 0;
    for (;;) {
      const answer = await poll(server, query);
      rounds++;
      seen.push(...answer.messages.map(({ data }) => Number.parseInt(data as string, 10)));
      query = `filter=t/%23&cursor=${answer.cursor}`;
      if (!answer.more) break;
    }
    expect(seen).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(rounds).toBeGreaterThan(3);
  });

  it('bounds what from=last gives, and goes on behind it', async () => {
    await using server = await startApi();
    const text = 'x'.repeat(10_000);
    for (let i = 0; i < 10; i++)
      await publish(server, ...Array.from({ length: 10 }, (_, n) => ({ topic: `t/${i * 10 + n}`, data: text })));
    await publish(server, { topic: 't/50', data: 'newer' });
    let answer = await poll(server, 'filter=t/%23&from=last');
    const offsets: number[] = [];
    let rounds = 1;
    for (;;) {
      const bytes = JSON.stringify(answer).length;
      expect(bytes).toBeLessThan(300_000);
      offsets.push(...answer.messages.map(({ offset }) => offset));
      if (!answer.more) break;
      expect(bytes).toBeGreaterThan(200_000);
      answer = await poll(server, `filter=t/%23&cursor=${answer.cursor}`);
      rounds++;
    }
    // the one that the first answer would have left out stands behind it, and is given by cursor
    expect(offsets).toEqual(Array.from({ length: 101 }, (_, i) => i + 1));
    expect(rounds).toBeGreaterThan(3);
    expect((await poll(server, 'filter=t/0&filter=t/50&from=last')).messages.map(({ offset }) => offset)).toEqual([
      1, 101,
    ]);
  });

  it('puts Last-Event-ID before cursor before from', async () => {
    await using server = await startApi();
    await publish(server, ...numbered('t', 1, 5));
    const cursor = (offset: number) => server.hub.tokens.of(offset, server.log.head.time);
    const first = async (query: string, headers?: Record<string, string>) =>
      (await poll(server, query, headers)).messages[0]!.data;
    expect(await first(`filter=t&cursor=${cursor(2)}&from=earliest`, { 'last-event-id': cursor(3) })).toBe(4);
    expect(await first(`filter=t&cursor=${cursor(2)}&from=earliest`)).toBe(3);
    expect(await first('filter=t&from=@5')).toBe(5);
    expect(await first('filter=t&from=last')).toBe(5);
    expect(await first('filter=t&from=last:3')).toBe(3);
    expect(await first('filter=t&from=1970-01-01T01:00:00+01:00')).toBe(1);
  });

  it('delivers a record once however many filters match', async () => {
    await using server = await startApi();
    await publish(server, { topic: 'a/b', data: 1 }, { topic: 'c', data: 2 });
    expect(
      (await poll(server, 'filter=a/b&filter=a/%2B&filter=%23&filter=a/+&from=earliest')).messages.map(
        ({ data }) => data,
      ),
    ).toEqual([1, 2]);
  });

  it('tells a reset, and goes on from where it says', async () => {
    await using server = await startApi();
    await publish(server, ...numbered('t', 1, 3));
    const { log } = server;
    const cursor = (part: object) =>
      formatCursor({ log: log.id, epoch: log.head.epoch, offset: 2, time: log.head.time, ...part });
    for (const [bad, reason] of [
      [cursor({ offset: 99 }), 'ahead'],
      [cursor({ epoch: 1, time: 1 }), 'epoch'],
      [cursor({ log: 'unknown', time: 1 }), 'epoch'],
    ] as const) {
      const { notices, messages, cursor: next } = await poll(server, `filter=t&cursor=${bad}`);
      expect(notices).toEqual([{ type: 'reset', reason, cursor: expect.any(String) }]);
      expect(messages.map(({ data }) => data)).toEqual(reason === 'ahead' ? [] : [1, 2, 3]);
      expect((await poll(server, `filter=t&wait=0&cursor=${next}`)).notices).toEqual([]);
    }
  });

  it('answers with the time that the log knows, not with one that came', async () => {
    await using server = await startApi();
    await publish(server, ...numbered('t', 1, 3));
    const good = server.hub.tokens.of(3, server.log.head.time);
    const forged = server.hub.tokens.of(3, 9e12);
    expect(forged).not.toBe(good);
    expect((await poll(server, `filter=t&wait=0&cursor=${forged}`)).cursor).toBe(good);
  });

  it('tells a gap when retention was faster', async () => {
    await using server = await startApi({ log: openMemoryLog({ hotBytes: 10_000 }) });
    await publish(server, { topic: 't', data: 0 });
    const { cursor } = await poll(server, 'filter=t&from=earliest');
    for (let i = 0; i < 5; i++) await publish(server, ...numbered('t', i * 50, i * 50 + 49));
    const { notices, messages } = await poll(server, `filter=t&cursor=${cursor}`);
    expect(server.log.floor).toBeGreaterThan(1);
    expect(notices).toEqual([{ type: 'gap', reason: 'trimmed', after: cursor, cursor: expect.any(String) }]);
    expect(messages[0]!.offset).toBe(server.log.floor + 1);
  });

  it('tells the end of a topic it names', async () => {
    await using server = await startApi();
    await publish(server, { topic: 'game/1', data: 1 }, { topic: 'game/1', end: true });
    const { messages, notices, cursor } = await poll(server, 'filter=game/1&from=earliest');
    expect(messages).toHaveLength(2);
    expect(notices).toEqual([{ type: 'end', topic: 'game/1', cursor }]);
    expect((await poll(server, 'filter=game/%23&from=earliest')).notices).toEqual([]);
  });

  it('carries every payload', async () => {
    await using server = await startApi();
    const post = (body: string | Uint8Array, type: string) =>
      fetch(`${server.url}/v1/topics/p`, {
        method: 'POST',
        body: new Blob([body as never]),
        headers: { 'content-type': type },
      });
    await post('{\r\n"a":\n"\\u0000"}', 'application/json');
    await post('a\r\nb\0😀"}', 'text/plain');
    await post(new Uint8Array([0, 255, 13, 10]), 'application/octet-stream');
    expect((await poll(server, 'filter=p&from=earliest')).messages).toMatchObject([
      { data: { a: '\0' } },
      { data: 'a\r\nb\0😀"}', contentType: 'text/plain' },
      { data: 'AP8NCg==', encoding: 'base64' },
    ]);
  });

  it('stops waiting when its client leaves', async () => {
    await using server = await startApi();
    const client = new RawClient(server.port);
    client.send('GET /v1/poll?filter=t HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until(() => waiting(server) === 1);
    expect(server.hub.index.filterCount).toBe(1);
    client.socket.destroy();
    await until(() => waiting(server) === 0);
    expect(server.hub.index.filterCount).toBe(0);
    expect(server.faults).toEqual([]);
  });

  it('ends when the server drains', async () => {
    await using server = await startApi();
    const answer = poll(server, 'filter=t');
    await until(() => waiting(server) === 1);
    server.gateway.drain();
    expect((await answer).notices).toEqual([{ type: 'drain', within: expect.any(Number) }]);
    const refused = await fetch(`${server.url}/v1/poll?filter=t`);
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ code: 'draining' });
  });

  it.each([
    ['', 'filter_invalid'],
    ['filter=a//b', 'filter_invalid'],
    ['filter=a/', 'filter_invalid'],
    ['filter=%23/a', 'filter_invalid'],
    ['filter=a&wait=-1', 'bad_request'],
    ['filter=a&wait=1s', 'bad_request'],
    ['filter=a&cursor=', 'cursor_invalid'],
    ['filter=a&cursor=k%0d%0ax', 'cursor_invalid'],
    [`filter=a&cursor=${'k'.repeat(2000)}`, 'cursor_invalid'],
    ['filter=a&from=never', 'cursor_invalid'],
    ['filter=a&cursor=x&cursor=y', 'bad_request'],
    ['filter=a&filters=b', 'unknown_field'],
    ['filter=a&where=b', 'unsupported'],
  ])('refuses %s', async (query, code) => {
    await using server = await startApi();
    await besideOthers(server, async () => {
      const others = waiting(server);
      const response = await fetch(`${server.url}/v1/poll?${query}`);
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([400, code]);
      expect(waiting(server)).toBe(others);
    });
  });

  it('refuses a Last-Event-ID with control characters', async () => {
    await using server = await startApi();
    await besideOthers(server, async () => {
      using client = new RawClient(server.port);
      client.send('GET /v1/poll?filter=t HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: k\x7fx\r\n\r\n');
      expect(await client.seen('\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    });
  });
});

describe('POST /v1/poll', () => {
  async function frames(server: ApiServer, body: object | string, wait = 25_000): Promise<Frame[]> {
    const response = await fetch(`${server.url}/v1/poll?wait=${wait}`, {
      method: 'POST',
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
    expect(response.status).toBe(200);
    return ((await response.json()) as { frames: Frame[] }).frames;
  }

  it('answers the frames of each subscription, in a chain', async () => {
    await using server = await startApi();
    await publish(server, { topic: 'a', data: 1 }, { topic: 'b', data: 2 }, { topic: 'a', data: 3 });
    const got = await frames(server, {
      connect: { client: { name: 'test', version: '1' } },
      subscribe: [
        { filter: 'a', from: 'earliest' },
        { filter: ['b', 'c'], sub: 'both', from: 'earliest' },
        { filter: 'a//b', sub: 'bad' },
        { filter: 'a' },
      ],
    });
    expect(got[0]).toMatchObject({ type: 'welcome', server: 'tailrace/test' });
    expect(got.filter(({ type }) => type === 'subscribed').map(({ sub }) => sub)).toEqual(['a', 'both']);
    expect(got.filter(({ type }) => type === 'error').map(({ code, at }) => [code, at])).toEqual([
      ['filter_invalid', { sub: 'bad', index: 2 }],
      ['already_subscribed', { sub: 'a', index: 3 }],
    ]);
    const cursors = new Map<string, string>();
    const seen: unknown[] = [];
    const follow = (frame: Frame): void => {
      if (frame.type === 'subscribed' && !cursors.has(frame.sub!)) cursors.set(frame.sub!, frame.cursor!);
      if (frame.after !== undefined) expect(frame.after).toBe(cursors.get(frame.sub!));
      if (frame.type === 'messages' || frame.type === 'cursor') cursors.set(frame.sub!, frame.cursor!);
      for (const { data } of frame.messages ?? []) seen.push([frame.sub, data]);
    };
    got.forEach(follow);
    expect(seen).toEqual([
      ['a', 1],
      ['a', 3],
      ['both', 2],
    ]);
    expect(got.filter(({ type }) => type === 'live')).toHaveLength(2);

    const again = () => ({
      subscribe: [
        { filter: 'a', cursor: cursors.get('a')! },
        { filter: ['b', 'c'], sub: 'both', cursor: cursors.get('both')! },
      ],
    });
    const next = frames(server, again());
    await until(() => waiting(server) === 1);
    await publish(server, { topic: 'x', data: 0 }, { topic: 'c', data: 4 });
    const more = await next;
    expect(more.filter(({ type }) => type === 'subscribed').every(({ recovered }) => recovered === true)).toBe(true);
    more.forEach(follow);
    expect(seen.at(-1)).toEqual(['both', 4]);
    // the quiet one's cursor moved too
    expect(cursors.get('a')).toBe(server.hub.tokens.of(server.log.head.offset, server.log.head.time));
    const quiet = await frames(server, again(), 0);
    expect(quiet.map(({ type }) => type)).toEqual(['subscribed', 'subscribed']);
    expect(server.hub.index.filterCount).toBe(0);
  });

  it('bounds what from=last gives, over all subscriptions, and each goes on behind it', async () => {
    await using server = await startApi();
    const text = 'x'.repeat(50_000);
    for (let i = 0; i < 20; i++)
      await publish(server, { topic: `a/${i}`, data: text }, { topic: `b/${i}`, data: text });
    const cursors = new Map<string, string>();
    const seen = new Map<string, number[]>(
      [...Array(20).keys()].flatMap(i => [`a${i}`, `b${i}`]).map(sub => [sub, []]),
    );
    seen.set('all', []);
    const ask = (sub: string): object => ({
      sub,
      filter: sub === 'all' ? '#' : `${sub[0]}/${sub.slice(1)}`,
      ...(cursors.has(sub) ? { cursor: cursors.get(sub) } : { from: 'last' }),
    });
    const wanted = 40 + 40;
    for (let rounds = 0; [...seen.values()].flat().length < wanted; rounds++) {
      expect(rounds).toBeLessThan(60);
      const got = await frames(server, { subscribe: [...seen.keys()].map(ask) }, 0);
      expect(JSON.stringify(got).length).toBeLessThan(400_000);
      for (const { type, sub, after, cursor, messages = [] } of got) {
        if (type === 'subscribed' && !cursors.has(sub!)) cursors.set(sub!, cursor!);
        if (after !== undefined) expect(after).toBe(cursors.get(sub!));
        if (type === 'messages' || type === 'cursor') cursors.set(sub!, cursor!);
        seen.get(sub!)?.push(...messages.map(({ offset }) => offset));
      }
    }
    expect(seen.get('all')).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
    expect(seen.get('b3')).toEqual([8]);
  });

  it('tells the end of a topic whose newest record that is', async () => {
    await using server = await startApi();
    await publish(server, { topic: 'a', data: 1 }, { topic: 'a', end: true });
    for (const from of ['earliest', 'last'])
      expect(await frames(server, { subscribe: [{ filter: 'a', from }] })).toContainEqual({
        type: 'end',
        sub: 'a',
        topic: 'a',
        cursor: server.hub.tokens.of(2, server.log.head.time),
      });
  });

  it('tells a reset at once', async () => {
    await using server = await startApi();
    await publish(server, { topic: 'a', data: 1 });
    const got = await frames(server, { subscribe: [{ filter: 'a', cursor: 'kunknown.1.5.0' }] });
    expect(got.map(({ type }) => type)).toContain('reset');
  });

  it('drains', async () => {
    await using server = await startApi();
    const answer = frames(server, { subscribe: [{ filter: 'a', cursor: server.hub.tokens.of(0, 0) }] });
    await until(() => waiting(server) === 1);
    server.gateway.drain();
    expect((await answer).at(-1)).toEqual({ type: 'drain', within: expect.any(Number) });
  });

  it.each([
    ['', 'bad_request'],
    ['[]', 'bad_request'],
    ['{}', 'bad_request'],
    ['{"subscribe":[]}', 'bad_request'],
    ['{"subscribe":{}}', 'bad_request'],
    ['{"subscribe":[{"filter":"a"}],"x":1}', 'unknown_field'],
    ['{"subscribe":[{"filter":"a"}],"connect":1}', 'bad_request'],
    ['{"subscribe":[{"filter":"a"}],"connect":{"x":1}}', 'unknown_field'],
    [`{"subscribe":"${'x'.repeat(300_000)}"}`, 'payload_too_large'],
  ])('refuses %.60s', async (body, code) => {
    await using server = await startApi();
    await besideOthers(server, async () => {
      const others = waiting(server);
      const response = await fetch(`${server.url}/v1/poll`, { method: 'POST', body });
      expect(((await response.json()) as { code: string }).code).toBe(code);
      expect(waiting(server)).toBe(others);
    });
  });
});
