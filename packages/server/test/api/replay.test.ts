import { formatCursor } from '@tailrace/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openMemoryLog } from '../../src/log/index.ts';
import { type ApiServer, besideOthers, RawClient, startApi, until } from './api-server.ts';

interface Line {
  readonly offset: number;
  readonly data: unknown;
  readonly done?: true;
  readonly cursor: string;
  readonly before: string;
  readonly more: boolean;
  readonly gap?: { readonly reason: string };
  readonly reset?: { readonly reason: string };
}

let server: ApiServer;
beforeAll(async () => {
  server = await startApi();
  // a/0 a/1 … a/4 in turn, data 1 to 5000
  await publish(
    server,
    Array.from({ length: 5000 }, (_, i) => ({ topic: `a/${i % 5}`, data: i + 1 })),
  );
});
afterAll(() => server[Symbol.asyncDispose]());

async function publish(to: ApiServer, messages: readonly object[]): Promise<void> {
  const response = await fetch(`${to.url}/v1/publish`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
    body: messages.map(message => JSON.stringify(message)).join('\n'),
  });
  expect(await response.text()).toContain('"done":true');
}

async function replay(
  query: string,
  at: ApiServer = server,
): Promise<{ offsets: number[]; last: Line; lines: Line[] }> {
  const response = await fetch(`${at.url}/v1/log?${query}`);
  const text = await response.text();
  expect([response.status, response.headers.get('content-type'), text.at(-1)]).toEqual([
    200,
    'application/x-ndjson',
    '\n',
  ]);
  const lines = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Line);
  const last = lines.pop()!;
  expect(last.done).toBe(true);
  return { offsets: lines.map(({ offset }) => offset), last, lines };
}

const every = (step: number, first: number, to: number): number[] =>
  Array.from({ length: Math.floor((to - first) / step) + 1 }, (_, i) => first + i * step);

describe('GET /v1/log', () => {
  it('gives everything that matches, oldest first', async () => {
    const { offsets, last, lines } = await replay('filter=%23');
    expect(offsets).toEqual(every(1, 1, 5000));
    expect(lines[0]).toEqual({ topic: 'a/0', offset: 1, time: expect.any(Number), data: 1 });
    expect(last).toMatchObject({ more: false, cursor: server.hub.tokens.of(5000, server.log.head.time) });
    expect((await replay('filter=a/3')).offsets).toEqual(every(5, 4, 4999));
    expect((await replay('filter=a/3&filter=a/%2B')).offsets).toEqual(every(1, 1, 5000));
    expect((await replay('filter=a/+')).offsets).toHaveLength(5000);
    expect((await replay('filter=nothing')).last).toMatchObject({ more: false });
  });

  it('may be cached for one user only', async () => {
    const response = await fetch(`${server.url}/v1/log?filter=nothing`);
    await response.text();
    expect(response.headers.get('cache-control')).toBe('private');
    expect(response.headers.get('vary')).toBe('Authorization, Cookie, Origin');
  });

  it('pages forwards by cursor', async () => {
    const seen: number[] = [];
    let from = 'earliest';
    for (;;) {
      const { offsets, last } = await replay(`filter=a/2&limit=300&from=${from}`);
      seen.push(...offsets);
      from = last.cursor;
      if (!last.more) break;
    }
    expect(seen).toEqual(every(5, 3, 4998));
  });

  it('pages backwards by `before`', async () => {
    const seen: number[] = [];
    let to = 'now';
    for (;;) {
      const { offsets, last } = await replay(`filter=a/2&order=newest&limit=300&to=${to}`);
      seen.push(...offsets);
      to = last.before;
      if (!last.more) break;
    }
    expect(seen).toEqual(every(5, 3, 4998).reverse());
  });

  it('says `more` only when there is more', async () => {
    expect((await replay('filter=a/2&limit=1000')).last.more).toBe(false);
    expect((await replay('filter=a/2&limit=999')).last.more).toBe(true);
    expect((await replay('filter=a/2&limit=1000&order=newest')).last.more).toBe(false);
    expect((await replay('filter=a/2&limit=999&order=newest')).last.more).toBe(true);
  });

  it('goes on live from its cursor', async () => {
    const { last } = await replay('filter=a/2&order=newest&limit=1');
    const poll = await fetch(`${server.url}/v1/poll?filter=a/2&wait=0&cursor=${last.cursor}`);
    expect(await poll.json()).toMatchObject({ messages: [], more: false });
  });

  it('begins and ends where it is told', async () => {
    expect((await replay('filter=%23&from=@100&to=@103')).offsets).toEqual([100, 101, 102, 103]);
    expect((await replay('filter=%23&from=@4999')).offsets).toEqual([4999, 5000]);
    expect((await replay('filter=%23&from=now')).offsets).toEqual([]);
    expect((await replay('filter=%23&to=-1h')).offsets).toEqual([]);
    expect((await replay('filter=%23&from=-1h&limit=2')).offsets).toEqual([1, 2]);
    expect((await replay(`filter=%23&from=${encodeURIComponent(new Date(0).toISOString())}&limit=1`)).offsets).toEqual([
      1,
    ]);
    expect((await replay('filter=%23&from=last')).offsets).toEqual([4996, 4997, 4998, 4999, 5000]);
    expect((await replay('filter=a/1&from=last:3')).offsets).toEqual([4987, 4992, 4997]);
    expect((await replay('filter=%23&from=@9&order=newest&to=@12')).offsets).toEqual([12, 11, 10, 9]);
    const cursor = server.hub.tokens.of(10, 1);
    expect((await replay(`filter=%23&from=${cursor}&to=@12`)).offsets).toEqual([11, 12]);
    expect((await replay(`filter=%23&from=@9&to=${cursor}`)).offsets).toEqual([9, 10]);
  });

  it('tells when a cursor did not fit', async () => {
    const { log } = server;
    const cursor = (part: Partial<{ log: string; epoch: number; offset: number; time: number }>) =>
      formatCursor({ log: log.id, epoch: log.head.epoch, offset: 1, time: log.head.time, ...part });
    expect((await replay(`filter=%23&from=${cursor({ offset: 9999 })}`)).last.reset).toMatchObject({ reason: 'ahead' });
    expect((await replay(`filter=%23&from=${cursor({ epoch: 1 })}`)).last.reset).toMatchObject({ reason: 'epoch' });
    expect((await replay(`filter=%23&from=${cursor({ log: 'otherlog' })}`)).last.reset).toMatchObject({
      reason: 'epoch',
    });
    expect((await replay(`filter=%23&from=${cursor({})}`)).last.reset).toBeUndefined();
  });

  it('tells what retention has removed', async () => {
    await using other = await startApi({ log: openMemoryLog({ hotBytes: 20_000 }) });
    for (let i = 0; i < 5; i++)
      await publish(
        other,
        Array.from({ length: 100 }, (_, n) => ({ topic: 't', data: n })),
      );
    const { offsets, last } = await replay('filter=t', other);
    expect(other.log.floor).toBeGreaterThan(0);
    expect(offsets[0]).toBe(other.log.floor + 1);
    expect(last.gap).toEqual({ reason: 'trimmed', cursor: expect.any(String) });
  });

  it.each([
    ['', 'filter_invalid'],
    ['filter=', 'filter_invalid'],
    ['filter=a/', 'filter_invalid'],
    ['filter=a//b', 'filter_invalid'],
    ['filter=%23/a', 'filter_invalid'],
    ['filter=a%00', 'filter_invalid'],
    [`filter=${'x'.repeat(513)}`, 'filter_invalid'],
    [`filter=${Array(33).fill('a').join('/')}`, 'filter_invalid'],
    [Array.from({ length: 129 }, (_, i) => `filter=${i}`).join('&'), 'too_many_filters'],
    ['filter=%ff', 'bad_request'],
    ['filter=a&from=yesterday', 'cursor_invalid'],
    ['filter=a&from=last:0', 'cursor_invalid'],
    ['filter=a&from=kforged.1.2', 'cursor_invalid'],
    ['filter=a&from=@99999999999999999', 'cursor_invalid'],
    ['filter=a&to=k.%0d%0a', 'cursor_invalid'],
    ['filter=a&to=tomorrow', 'cursor_invalid'],
    ['filter=a&limit=0', 'bad_request'],
    ['filter=a&limit=-1', 'bad_request'],
    ['filter=a&order=random', 'bad_request'],
    ['filter=a&order=newest&order=oldest', 'bad_request'],
    ['filtre=a', 'unknown_field'],
  ])('refuses %s', async (query, code) => {
    await using other = await startApi();
    await besideOthers(other, async () => {
      const response = await fetch(`${other.url}/v1/log?${query}`);
      expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([400, code]);
    });
  });

  it.each([
    ['from=tomorrow', 'from'],
    ['from=earliest&to=tomorrow', 'to'],
    ['from=earliest&to=@1.5', 'to'],
    ['from=earliest&to=k.x', 'to'],
  ])('names the parameter that is wrong: %s', async (query, field) => {
    const problem = (await (await fetch(`${server.url}/v1/log?filter=a&${query}`)).json()) as { detail: string };
    expect(problem).toMatchObject({ code: 'cursor_invalid', at: { field } });
    if (field === 'to') expect(problem.detail).not.toContain('from');
  });

  it('takes a time zone whose + no client has escaped', async () => {
    const text = '2000-01-01T01:00:00+01:00';
    expect((await replay(`filter=a/1&limit=2&from=${text}`)).offsets).toEqual([2, 7]);
    expect((await replay(`filter=a/1&limit=2&to=${text}`)).offsets).toEqual([]);
  });

  it('waits for a slow reader, and stops for one that leaves', async () => {
    await using other = await startApi();
    await publish(
      other,
      Array.from({ length: 300 }, () => ({ topic: 't', data: 'x'.repeat(100_000) })),
    );
    const client = new RawClient(other.port);
    client.socket.pause();
    client.send('GET /v1/log?filter=t HTTP/1.1\r\nHost: localhost\r\n\r\n');
    let reads = 0;
    const read = other.log.hot.read.bind(other.log.hot);
    other.log.hot.read = (...args) => {
      reads++;
      return read(...args);
    };
    await until(() => reads > 0);
    client.socket.destroy();
    const open = other.connections;
    await until(() => other.connections < open);
    expect(reads).toBeLessThan(110);
    expect(other.faults).toEqual([]);
  });

  it('cuts a reader that takes nothing', async () => {
    await using other = await startApi({ stallMax: 200 });
    await publish(
      other,
      Array.from({ length: 300 }, () => ({ topic: 't', data: 'x'.repeat(100_000) })),
    );
    using client = new RawClient(other.port);
    client.socket.pause();
    client.send('GET /v1/log?filter=t HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await until(() => client.socket.bytesWritten > 0 && other.connections > 1);
    await until(() => other.connections === 1);
    client.socket.resume();
    await client.end();
    expect(client.received).not.toContain('"done"');
  });
});
