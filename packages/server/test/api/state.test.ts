import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDiskLog, openMemoryLog } from '../../src/log/index.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { type ApiServer, startApi } from './api-server.ts';

const keep = { rules: [{ filter: 'stock/#', lastPerKey: true }] } as const;

interface Line {
  readonly topic: string;
  readonly offset: number;
  readonly key?: string;
  readonly data?: unknown;
}

interface End {
  readonly done: true;
  readonly cursor: string;
  readonly more: boolean;
  readonly after?: number;
}

interface Answer {
  readonly code?: string;
  readonly offset: number;
  readonly at: { readonly field: string };
  readonly current: Line;
  readonly messages: readonly Line[];
}

let server: ApiServer;
let directory: string;

async function start(): Promise<void> {
  server = await startApi({ log: await openDiskLog({ directory, keep, hotBytes: 1 }) });
}

beforeEach(async () => {
  directory = temporaryDirectory();
  await start();
});
afterEach(() => server[Symbol.asyncDispose]());

async function answer(path: string, init: RequestInit = {}): Promise<{ status: number; body: Answer }> {
  const response = await fetch(server.url + path, init);
  return { status: response.status, body: (await response.json()) as Answer };
}

function post(path: string, body: string, headers: Record<string, string> = {}): ReturnType<typeof answer> {
  return answer(path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
}

async function state(query: string): Promise<{ lines: Line[]; end: End }> {
  const response = await fetch(`${server.url}/v1/state?${query}`);
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  const lines = (await response.text()).trim().split('\n');
  const end = JSON.parse(lines.pop()!) as End;
  expect(end.done).toBe(true);
  return { lines: lines.map(line => JSON.parse(line) as Line), end };
}

describe('expect', () => {
  it('is taken as member, header and query, and refused with the current record', async () => {
    expect(await post('/v1/publish', '{"topic":"a","key":"k","data":{"n":1},"expect":{"absent":true}}')).toMatchObject({
      status: 200,
      body: { offset: 1 },
    });
    const refused = await post('/v1/publish', '{"topic":"a","key":"k","data":2,"expect":{"absent":true}}');
    expect(refused.status).toBe(409);
    expect(refused.body).toMatchObject({
      code: 'expect_failed',
      retry: 'never',
      at: { field: 'expect' },
      current: { topic: 'a', offset: 1, time: expect.any(Number), key: 'k', data: { n: 1 } },
    });
    expect((await post('/v1/topics/a?key=k&expect=1', '2')).body).toMatchObject({ offset: 2 });
    expect((await post('/v1/topics/a?key=k&expect=1', '3')).body).toMatchObject({ current: { offset: 2, data: 2 } });
    const headers = { 'tailrace-key': 'k', 'tailrace-expect': '2' };
    expect((await post('/v1/topics/a', '', headers)).body).toMatchObject({ offset: 3 });
    // deleted: absent
    expect((await post('/v1/topics/a', '4', headers)).body).toMatchObject({ code: 'expect_failed', current: null });
    expect((await post('/v1/topics/a', '4', { ...headers, 'tailrace-expect': 'absent' })).body).toMatchObject({
      offset: 4,
    });
    expect(server.faults).toEqual([]);
  });

  it('says what is wrong with itself', async () => {
    for (const [body, field] of [
      ['{"topic":"a","data":1,"expect":{"absent":true}}', 'expect'],
      ['{"topic":"a","data":1,"key":"k","expect":5}', 'expect'],
      ['{"topic":"a","data":1,"key":"k","expect":{"offset":0}}', 'expect'],
      ['{"topic":"a","data":1,"key":"k","expect":{"offset":1,"absent":true}}', 'expect'],
      ['{"topic":"a","data":1,"key":"k","expect":{"absent":false}}', 'expect'],
      ['{"topic":"a","data":1,"key":"k","expect":{"absent":true},"durability":"none"}', 'expect'],
    ]) {
      const { status, body: problem } = await post('/v1/publish', body!);
      expect([body, status, problem.code, problem.at.field]).toEqual([body, 400, 'bad_request', field]);
    }
    expect(await post('/v1/topics/a?key=k&expect=none', '1')).toMatchObject({
      status: 400,
      body: { detail: expect.stringContaining('must be absent, or the offset') },
    });
    expect(server.log.head.offset).toBe(0);
  });

  it('stops an array and lines at the first that is not met; a duplicate is one whatever it expects', async () => {
    const array =
      '[{"topic":"a","key":"k","data":1},{"topic":"a","key":"k","data":2,"expect":{"offset":9}},{"topic":"a","data":3}]';
    const { status, body } = await post('/v1/publish', array);
    expect([status, body]).toMatchObject([
      409,
      {
        code: 'expect_failed',
        accepted: 1,
        at: { index: 1 },
        current: { offset: 1 },
        results: [{ offset: 1 }, { error: { current: { offset: 1, data: 1 } } }, { error: { code: 'not_attempted' } }],
      },
    ]);
    const lines =
      '{"topic":"a","key":"k","data":2,"expect":{"offset":1},"id":"i"}\n{"topic":"a","key":"k","data":3,"expect":{"offset":1}}\n';
    const response = await fetch(`${server.url}/v1/publish`, {
      method: 'POST',
      body: lines,
      headers: { 'content-type': 'application/x-ndjson' },
    });
    const last = (await response.text()).trim().split('\n').at(-1)!;
    expect(JSON.parse(last)).toMatchObject({
      error: { code: 'expect_failed', line: 2, current: { offset: 2 } },
      accepted: 1,
    });
    expect((await post('/v1/topics/a?key=k&expect=1&id=i', '2')).body).toMatchObject({ offset: 2, duplicate: true });
  });

  it('of many who set a key in parallel lets one through each round, over a restart too', async () => {
    let expected = 'absent';
    for (let round = 0; round < 6; round++) {
      if (round === 3) {
        await server[Symbol.asyncDispose]();
        await start();
      }
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, i) => post(`/v1/topics/stock/a?key=k&expect=${expected}`, String(i))),
      );
      const won = answers.filter(({ status }) => status === 200);
      expect(won).toHaveLength(1);
      const { offset } = won[0]!.body;
      for (const { status, body } of answers)
        if (status !== 200) expect([status, body.current.offset]).toEqual([409, offset]);
      expected = String(offset);
    }
  });

  it('tells a large record without its data', async () => {
    const big = JSON.stringify('x'.repeat(100_000));
    await post('/v1/topics/a?key=k', big);
    const { body } = await post('/v1/topics/a?key=k&expect=absent', '1');
    expect(body.current).toEqual({ topic: 'a', offset: 1, time: expect.any(Number), key: 'k' });
  });
});

describe('GET /v1/state', () => {
  beforeEach(async () => {
    for (const [path, body] of [
      ['stock/a?key=x', '1'],
      ['stock/a?key=y', '2'],
      ['stock/b?key=x', '3'],
      ['prices', '4'],
      ['prices', '5'],
      ['stock/a?key=x', '6'],
      ['stock/b?key=z', '7'],
      ['stock/b?key=z', ''],
    ])
      expect((await post(`/v1/topics/${path}`, body!)).status).toBe(200);
  });

  it('gives the newest record of each key of tables, and of each other topic', async () => {
    const { lines, end } = await state('filter=%23');
    expect(lines.map(({ topic, key, data }) => [topic, key, data])).toEqual([
      ['stock/a', 'y', 2],
      ['stock/b', 'x', 3],
      ['prices', undefined, 5],
      ['stock/a', 'x', 6],
    ]);
    expect(end).toEqual({ done: true, cursor: server.hub.tokens.of(8, server.log.head.time), more: false });
    expect((await state('filter=stock/b')).lines.map(({ offset }) => offset)).toEqual([3]);
    expect((await state('filter=nothing')).lines).toEqual([]);
  });

  it('is followed by what changes from its cursor', async () => {
    const { end } = await state('filter=stock/%23');
    await post('/v1/topics/stock/a?key=y', '');
    const { body } = await answer(`/v1/poll?filter=stock/%23&cursor=${end.cursor}`);
    expect(body.messages).toMatchObject([{ topic: 'stock/a', key: 'y', offset: 9 }]);
    expect(body.messages[0]).not.toHaveProperty('data');
  });

  it('pages, and what changes between two pages follows the cursor instead', async () => {
    const first = await state('filter=stock/%23&limit=1');
    expect(first.lines.map(({ offset }) => offset)).toEqual([2]);
    expect(first.end).toMatchObject({ more: true, after: 2 });
    await post('/v1/topics/stock/b?key=x', '9');
    await post('/v1/topics/stock/a?key=new', '10');
    const { cursor, after } = first.end;
    const second = await state(`filter=stock/%23&limit=5&cursor=${cursor}&after=${after}`);
    expect(second.end).toEqual({ done: true, cursor, more: false });
    const { body } = await answer(`/v1/poll?filter=stock/%23&cursor=${cursor}`);
    expect(body.messages.map(({ offset }) => offset)).toEqual([9, 10]);
    expect(second.lines.every(({ offset }) => offset > after! && offset <= 8)).toBe(true);
    const rows = new Map<string, number>();
    for (const { topic, key, offset } of [...first.lines, ...second.lines, ...body.messages])
      rows.set(`${topic} ${key}`, offset);
    const { lines } = await state('filter=stock/%23');
    expect(rows).toEqual(new Map(lines.map(({ topic, key, offset }) => [`${topic} ${key}`, offset])));
  });

  it('looks keys up, of tables and of other topics', async () => {
    await post('/v1/topics/prices?key=eur', '1.08');
    const asked = await state('filter=stock/a&filter=stock/b&filter=prices&key=x&key=z&key=eur');
    expect(asked.lines.map(({ topic, key, data }) => [topic, key, data])).toEqual([
      ['stock/b', 'x', 3],
      ['stock/a', 'x', 6],
      ['prices', 'eur', 1.08],
    ]);
    expect(asked.end).toMatchObject({ more: false });
  });

  it('is exact after a publish and after a restart', async () => {
    for (let i = 0; i < 20; i++) {
      const { body } = await post('/v1/topics/stock/c?key=k', String(i));
      expect((await state('filter=stock/c')).lines.map(({ offset }) => offset)).toEqual([body.offset]);
    }
    const before = await state('filter=%23');
    await server[Symbol.asyncDispose]();
    await start();
    expect((await state('filter=%23')).lines).toEqual(before.lines);
  });

  it('refuses what it cannot answer', async () => {
    for (const [query, code] of [
      ['', 'filter_invalid'],
      ['filter=stock/%23&key=x', 'bad_request'],
      ['filter=stock/a&after=3', 'bad_request'],
      ['filter=stock/a&cursor=x', 'bad_request'],
      ['filter=stock/a&cursor=x&after=1', 'cursor_invalid'],
      ['filter=stock/a&from=last', 'unknown_field'],
    ]) {
      const { status, body } = await answer(`/v1/state?${query}`);
      expect([query, status, body.code]).toEqual([query, 400, code]);
    }
    await using other = await startApi({ log: openMemoryLog({ keep }) });
    const cursor = other.hub.tokens.of(1, 1);
    expect((await answer(`/v1/state?filter=stock/a&cursor=${cursor}&after=1`)).body.code).toBe('cursor_invalid');
  });

  it('gives large tables a stretch at a time', async () => {
    const value = JSON.stringify('x'.repeat(2000));
    await server.log.append(
      Array.from({ length: 1000 }, (_, i) => ({
        ...plainMessage,
        topic: 'stock/large',
        key: `k${i}`,
        data: Buffer.from(value),
      })),
      'written',
    );
    const { lines } = await state('filter=stock/large');
    expect(new Set(lines.map(({ key }) => key)).size).toBe(1000);
    expect(lines).toHaveLength(1000);
  });
});

const plainMessage = {
  contentType: undefined,
  event: undefined,
  id: undefined,
  producer: undefined,
  sequence: undefined,
  expect: undefined,
  headers: undefined,
  by: undefined,
  end: false,
  durability: undefined,
};
