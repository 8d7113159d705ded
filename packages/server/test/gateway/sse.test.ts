import { formatCursor, parseCursor } from '@tailrace/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openMemoryLog } from '../../src/log/index.ts';
import { Bystander } from './bystander.ts';
import { type RoomOptions, Rooms, until } from './harness.ts';
import { getRequest, RawClient } from './raw-client.ts';
import { SseClient } from './sse-client.ts';

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('GET /v1/sse', () => {
  let rooms: Rooms;
  let bystander: Bystander;
  const clients: SseClient[] = [];

  async function begin(options: RoomOptions = {}): Promise<void> {
    if (rooms !== undefined) await rooms.close();
    rooms = await Rooms.open(options);
    bystander = await Bystander.open(rooms);
  }

  async function open(query: string, headers?: Record<string, string>): Promise<SseClient> {
    const client = await SseClient.open(rooms.port, query, headers);
    clients.push(client);
    return client;
  }

  const cursor = (offset: number, fields: Partial<ReturnType<typeof parseCursor>> = {}): string =>
    formatCursor({
      log: rooms.log.id,
      epoch: rooms.log.head.epoch,
      offset,
      time: rooms.log.hot.timeAt(offset) ?? 0,
      ...fields,
    });

  beforeEach(() => begin());
  afterEach(async () => {
    await bystander.check();
    for (const client of clients.splice(0)) client.close();
    bystander.close();
    await until(() => rooms.gateway.connections.size === 0, 'all connections gone');
    expect(rooms.hub.sessions.size).toBe(0);
    expect(rooms.hub.cohorts.size).toBe(0);
    await rooms.close();
  });

  it('answers with the head of §5 and the open block in one go', async () => {
    const client = await open('filter=a');
    expect(client.status).toBe(200);
    expect(client.header('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(client.header('cache-control')).toBe('no-store, no-transform');
    expect(client.header('x-accel-buffering')).toBe('no');
    expect(client.header('vary')).toBe('Origin, Accept');
    expect(client.header('connection')).toBe('close');
    expect(client.header('transfer-encoding')).toBeUndefined();
    expect(client.header('content-length')).toBeUndefined();
    const [first] = client.blocks;
    expect(first).toMatchObject({ event: 'tailrace' });
    expect(first!.retry).toBeGreaterThanOrEqual(1000);
    expect(first!.retry).toBeLessThanOrEqual(3000);
    expect(parseCursor(first!.id!).offset).toBe(rooms.log.head.offset);
    const subscribed = JSON.parse(first!.data!) as Record<string, unknown>;
    expect(Object.keys(subscribed).sort()).toEqual(['heartbeat', 'session', 'type']);
    expect(rooms.hub.sessions.has(subscribed.session as string)).toBe(true);
    const live = await client.notice('live');
    expect(live.id).toBeUndefined(); // its cursor is that of the block before
    expect(live.cursor).toBe(first!.id);
  });

  it('sends each message as an envelope whose id is the cursor behind it', async () => {
    const client = await open('filter=a/%2B');
    const offset = await rooms.publish('a/b', '{"x":\n1}', { id: 'i1', key: 'k', headers: { h: 'v' } });
    await rooms.publish('other');
    const last = await rooms.publish('a/c', 'plain\ntext', { contentType: 'text/plain' });
    const [first, second] = await client.count(2);
    expect(first!.event).toBe('message');
    expect(parseCursor(first!.id!)).toMatchObject({ log: rooms.log.id, offset });
    expect(JSON.parse(first!.data!)).toEqual({
      topic: 'a/b',
      offset,
      time: parseCursor(first!.id!).time,
      id: 'i1',
      key: 'k',
      headers: { h: 'v' },
      data: { x: 1 },
    });
    expect(JSON.parse(second!.data!)).toMatchObject({ offset: last, contentType: 'text/plain', data: 'plain\ntext' });
  });

  it("names the publisher's event", async () => {
    const client = await open('filter=a');
    await rooms.publish('a', '1', { event: 'alarm' });
    const [message] = await client.count(1);
    expect(message!.event).toBe('alarm');
    expect(JSON.parse(message!.data!)).toMatchObject({ event: 'alarm', data: 1 });
  });

  it('carries any payload as an envelope', async () => {
    const client = await open('filter=a');
    const nasty = ['a\r\nb\rc\n', 'NUL \0 here', '😀 𝄞 é', 'data: x\n\nevent: tailrace\n\n', 'id: 1\r\n\r\n'];
    for (const text of nasty) await rooms.publish('a', text, { contentType: 'text/plain' });
    const binary = Buffer.from(range(0, 255));
    await rooms.publish('a', binary, { contentType: 'application/octet-stream' });
    const messages = await client.count(nasty.length + 1);
    expect(messages.slice(0, -1).map(block => (JSON.parse(block.data!) as { data: string }).data)).toEqual(nasty);
    const last = JSON.parse(messages.at(-1)!.data!) as { data: string; encoding: string };
    expect(last.encoding).toBe('base64');
    expect(Buffer.from(last.data, 'base64')).toEqual(binary);
  });

  it('raw=1 carries the payload itself, and flags what SSE cannot carry', async () => {
    const client = await open('filter=a&raw=1');
    const verbatim = ['one\ntwo\n\nthree', 'NUL \0', '😀', ' leading space', '', 'data: x', '\n'];
    for (const text of verbatim) await rooms.publish('a', text, { contentType: 'text/plain' });
    const flagged = [Buffer.from('cr\rlf\r\n'), Buffer.from([0xff, 0xfe]), Buffer.from([0xf0, 0x9f, 0x98])];
    for (const bytes of flagged)
      await rooms.publish('a', bytes, { contentType: 'application/octet-stream', event: 'mine' });
    await rooms.publish('a', '{"json":true}', { event: 'mine' });
    const messages = await client.count(verbatim.length + flagged.length + 1);
    expect(messages.slice(0, verbatim.length).map(block => block.data)).toEqual(verbatim);
    const rest = messages.slice(verbatim.length);
    expect(rest.map(block => block.event)).toEqual(['base64', 'base64', 'base64', 'mine']);
    expect(rest.slice(0, 3).map(block => Buffer.from(block.data!, 'base64'))).toEqual(flagged);
    expect(rest[3]!.data).toBe('{"json":true}');
    expect(messages.map(block => parseCursor(block.id!).offset)).toEqual(range(1, messages.length));
  });

  it('takes many filters as one subscription, each record once', async () => {
    const client = await open('filter=a&filter=a/%23&filter=%2B&filter=b/+');
    const sent = [];
    for (const topic of ['a', 'b/x', 'a/b/c', 'b', 'b/x/y', 'c']) sent.push(await rooms.publish(topic));
    await client.count(5);
    expect(client.offsets).toEqual(sent.filter((_, i) => i !== 4));
  });

  it('takes `+` as it is, as a space and escaped for the one-level wildcard', async () => {
    for (const filter of ['a/+/c', 'a/%2B/c', 'a/%20/c']) {
      const client = await open(`filter=${filter}`);
      const offset = await rooms.publish('a/b/c');
      await client.count(1);
      expect(client.offsets).toEqual([offset]);
    }
  });

  it.each([
    ['filter=a/', 'filter_invalid', 400, 'did "#" get lost'],
    ['', 'filter_invalid', 400, 'missing'],
    ['filter=', 'filter_invalid', 400, 'empty'],
    ['filter=a//b', 'filter_invalid', 400, 'empty level'],
    ['filter=a/%23/b', 'filter_invalid', 400, 'last level'],
    ['filter=a%00b', 'filter_invalid', 400, 'control'],
    ['filter=a/..', 'filter_invalid', 400, 'paths'],
    [`filter=${'a'.repeat(600)}`, 'filter_invalid', 400, 'longer'],
    [`filter=${'a/'.repeat(40)}a`, 'filter_invalid', 400, 'levels'],
    ['filter=%ff', 'bad_request', 400, 'percent'],
    ['filter=a&filter=b//', 'filter_invalid', 400, 'b//'],
    [
      range(1, 129)
        .map(i => `filter=f${i}`)
        .join('&'),
      'too_many_filters',
      400,
      '129',
    ],
    ['filter=a&cursr=x', 'unknown_field', 400, 'cursor'],
    ['filter=a&group=x', 'unsupported', 400, 'group'],
    ['filter=a&raw=1&raw=2', 'bad_request', 400, 'once'],
    ['filter=a&from=tomorrow', 'cursor_invalid', 400, 'from'],
    ['filter=a&cursor=garbage', 'cursor_invalid', 400, 'garbage'],
    ['filter=a&cursor=kxxxx.1.1', 'cursor_invalid', 400, 'kxxxx'],
  ])('refuses ?%s', async (query, code, status, detail) => {
    for (const accept of ['text/event-stream', 'text/event-stream, application/problem+json', '*/*']) {
      const client = await open(query, { Accept: accept });
      expect(client.status).toBe(status);
      expect(client.header('content-type')).toBe('application/problem+json');
      await client.raw.over();
      const problem = JSON.parse(client.body) as { code: string; detail: string };
      expect(problem.code).toBe(code);
      expect(problem.detail).toContain(detail);
    }
  });

  it('ignores parameters that begin with `_`', async () => {
    expect((await open('filter=a&_t=123&_=x')).status).toBe(200);
  });

  describe('resume', () => {
    it('goes on behind the cursor: header before parameter before `from`', async () => {
      for (let i = 0; i < 6; i++) await rooms.publish('a');
      const cases: [string, Record<string, string>, number][] = [
        [`filter=a&cursor=${cursor(2)}`, {}, 2],
        ['filter=a', { 'Last-Event-ID': cursor(4) }, 4],
        [`filter=a&cursor=${cursor(1)}&from=earliest`, { 'Last-Event-ID': cursor(5) }, 5],
        [`filter=a&cursor=${cursor(3)}&from=earliest`, {}, 3],
        [`filter=a&cursor=${cursor(3)}`, { 'Last-Event-ID': '' }, 3],
        [`filter=a&cursor=${cursor(0)}`, {}, 0],
      ];
      for (const [query, headers, from] of cases) {
        const client = await open(query, headers);
        expect(client.notices('subscribed')).toMatchObject([
          { recovered: true, id: headers['Last-Event-ID'] || cursor(from) },
        ]);
        await client.count(6 - from);
        await client.notice('live');
        expect(client.offsets).toEqual(range(from + 1, 6));
      }
    });

    it('on a cut loses and doubles nothing, at any block', async () => {
      const got: number[] = [];
      let id: string | undefined;
      const sent: number[] = [];
      for (let round = 0; round < 30; round++) {
        const client = await open('filter=a', id === undefined ? {} : { 'Last-Event-ID': id });
        const want = 1 + (round % 5);
        for (let i = 0; i < want; i++) sent.push(await rooms.publish('a'));
        await client.count(1);
        got.push(...client.offsets);
        id = client.lastId;
        client.close();
      }
      const client = await open('filter=a', { 'Last-Event-ID': id! });
      await until(() => got.length + client.offsets.length >= sent.length, 'the rest');
      expect([...got, ...client.offsets]).toEqual(sent);
    });

    it('from: now, earliest, last, last:N, @offset, -5m, a time with zone', async () => {
      for (let i = 1; i <= 6; i++) await rooms.publish(i % 2 === 0 ? 'a/1' : 'a/2');
      const later = encodeURIComponent(new Date(Date.now() + 60_000).toISOString());
      const offset = new Date(Date.now() - 60_000 + 2 * 3_600_000).toISOString().replace('Z', '+02:00');
      const cases: [string, number[]][] = [
        ['now', []],
        ['earliest', range(1, 6)],
        ['last', [5, 6]],
        ['last:2', range(3, 6)],
        ['@4', range(4, 6)],
        ['-5m', range(1, 6)],
        [offset, range(1, 6)], // its "+" arrives as a space
        [later, []],
      ];
      for (const [from, expected] of cases) {
        const client = await open(`filter=a/%23&from=${from}`);
        await client.notice('live');
        expect(client.offsets, from).toEqual(expected);
        expect(client.notices('subscribed')[0], from).not.toHaveProperty('recovered');
        const next = await rooms.publish('b/none');
        expect(next).toBeGreaterThan(0);
      }
    });

    it('says so when retention took what lies behind the cursor, and goes on at once', async () => {
      for (let i = 0; i < 10; i++) await rooms.publish('a');
      const old = cursor(3);
      await rooms.log.trim(6);
      const client = await open(`filter=a&cursor=${old}`);
      await client.notice('live');
      expect(client.notices('subscribed')).toMatchObject([{ recovered: false, id: old }]);
      const gap = await client.notice('gap');
      expect(gap).toMatchObject({ after: old, reason: 'trimmed' });
      expect(gap.id).toBe(gap.cursor);
      expect(parseCursor(gap.id as string).offset).toBe(6);
      expect(gap).not.toHaveProperty('sub');
      expect(client.offsets).toEqual(range(7, 10));
      const earliest = await open('filter=a&from=earliest');
      await earliest.notice('gap');
      await earliest.count(4);
    });

    it.each([
      ['of another log', () => cursor(3, { log: 'otherlog' }), 'epoch'],
      ['of an unknown epoch', () => cursor(3, { epoch: 5 }), 'epoch'],
      ['beyond the head', () => cursor(999), 'ahead'],
      ['with a forged time', () => cursor(999, { time: 1 }), 'ahead'],
    ])('resets on a cursor %s', async (_, token, reason) => {
      for (let i = 0; i < 5; i++) await rooms.publish('a');
      const client = await open(`filter=a&cursor=${token()}`);
      const reset = await client.notice('reset');
      expect(reset).toMatchObject({ reason });
      expect(reset.id).toBe(reset.cursor);
      expect(client.notices('subscribed')[0]).toMatchObject({ recovered: false, id: reset.cursor });
      await client.notice('live');
      const offset = await rooms.publish('a');
      await until(() => client.offsets.includes(offset), 'what comes after the reset');
      // and its cursor is good from now on
      const again = await open(`filter=a&cursor=${client.lastId}`);
      expect(again.notices('subscribed')[0]).toMatchObject({ recovered: true });
    });

    it('refuses a Last-Event-ID with control characters and takes no harm from it', async () => {
      for (const bad of ['k\tx', 'k\x01', 'k\x7f', 'k\x00']) {
        const raw = await RawClient.open(rooms.port);
        raw.send(getRequest('/v1/sse?filter=a', { 'Last-Event-ID': bad }));
        expect(await raw.over()).toMatch(/^HTTP\/1\.1 400 /);
        raw.destroy();
      }
    });
  });

  it('moves the cursor of a quiet stream by comment blocks that dispatch nothing', async () => {
    await begin({ hub: { heartbeat: 300 }, gateway: { heartbeat: { sse: 300, websocket: 300 } } });
    const client = await open('filter=a');
    await rooms.publish('other');
    await until(() => client.blocks.some(block => block.comment && block.id !== undefined), 'a cursor heartbeat');
    const moved = client.blocks.find(block => block.comment && block.id !== undefined)!;
    expect(moved).toMatchObject({ data: undefined, event: 'message', id: cursor(1) });
    await until(
      () => client.blocks.filter(block => block.comment && block.id === undefined).length >= 2,
      'plain heartbeats',
    );
    expect(client.messages).toEqual([]);
    const offset = await rooms.publish('a');
    await client.count(1);
    expect(client.offsets).toEqual([offset]);
  });

  it('sends class `none` without id, and resumes as if it had never been', async () => {
    const client = await open('filter=a');
    await rooms.publish('a');
    await rooms.publish('a', '"live"', { durability: 'none' });
    const messages = await client.count(2);
    expect(messages[1]!.id).toBeUndefined();
    expect(JSON.parse(messages[1]!.data!)).toEqual({ topic: 'a', time: expect.any(Number), data: 'live' });
    const again = await open('filter=a', { 'Last-Event-ID': client.lastId! });
    await again.notice('live');
    expect(again.messages).toEqual([]);
  });

  describe('the end of a topic', () => {
    it('is told, ends the stream, and answers 204 to who comes back', async () => {
      const client = await open('filter=a');
      const wild = await open('filter=a/%23');
      await rooms.publish('a');
      await rooms.publish('a', '', { end: true });
      const end = await client.notice('end');
      expect(end).toMatchObject({ topic: 'a', id: cursor(2), cursor: cursor(2) });
      await client.raw.over();
      expect(client.offsets).toEqual([1, 2]);
      expect(wild.notices('end')).toEqual([]);
      for (const accept of ['text/event-stream', '*/*']) {
        const back = await open('filter=a', { 'Last-Event-ID': client.lastId!, Accept: accept });
        expect(back.status).toBe(204);
        await back.raw.over();
        expect(back.body).toBe('');
      }
      // one that had not seen the end does
      const late = await open(`filter=a&cursor=${cursor(1)}`);
      await late.notice('end');
      expect(late.offsets).toEqual([2]);
      await late.raw.over();
    });

    it('lets go of a client that never closes its side', async () => {
      const before = rooms.gateway.connections.size;
      const client = await open('filter=a');
      await rooms.publish('a', '', { end: true });
      await client.raw.over();
      expect(client.raw.closed).toBe(false); // allowHalfOpen: we keep our side
      await until(() => rooms.gateway.connections.size === before, 'the connection let go', 12_000);
    });

    it('waits for the other topics of the stream', async () => {
      const client = await open('filter=a&filter=b');
      await rooms.publish('a', '', { end: true });
      await client.notice('end');
      const offset = await rooms.publish('b');
      await until(() => client.offsets.includes(offset), 'the other topic');
      await rooms.publish('b', '', { end: true });
      await client.raw.over();
      expect(client.notices('end').map(notice => notice.topic)).toEqual(['a', 'b']);
    });
  });

  describe('a topic that had ended before the cursor', () => {
    it.each([
      ['with a cursor behind its end', () => `&cursor=${cursor(2)}`],
      ['from now', () => ''],
    ])('counts, so that the stream is over with the last of the others: %s', async (_, begin) => {
      await rooms.publish('a', '', { end: true });
      await rooms.publish('b');
      const client = await open(`filter=a&filter=b&filter=c${begin()}`);
      await client.notice('live');
      await rooms.publish('b', '', { end: true });
      const offset = await rooms.publish('c');
      await until(() => client.offsets.includes(offset), 'the one that goes on');
      await rooms.publish('c', '', { end: true });
      await client.raw.over();
      expect(client.notices('end').map(notice => notice.topic)).toEqual(['b', 'c']);
      const back = await open('filter=a&filter=b&filter=c', { 'Last-Event-ID': client.lastId! });
      expect(back.status).toBe(204);
    });

    it('does not count once retention has taken its end', async () => {
      await rooms.publish('a', '', { end: true });
      await rooms.log.trim(1);
      const client = await open('filter=a&filter=b');
      await client.notice('live');
      await rooms.publish('b', '', { end: true });
      await client.notice('end');
      const offset = await rooms.publish('a');
      await until(() => client.offsets.includes(offset), 'a topic that may be used again');
    });
  });

  describe('refusals that pass', () => {
    const retryable = 'text/event-stream';

    it('are a stream that ends for one that takes nothing else, and the true status for others', async () => {
      await begin({ connectionsMax: 3 });
      const first = await open('filter=a');
      const refused = await open('filter=a', { Accept: retryable });
      expect(refused.status).toBe(200);
      expect(refused.header('content-type')).toBe('text/event-stream; charset=utf-8');
      await refused.raw.over();
      expect(refused.blocks).toHaveLength(1);
      expect(refused.blocks[0]!.retry).toBeGreaterThan(0);
      expect(refused.notices('error')).toMatchObject([{ code: 'too_many_connections', status: 503, retry: 'later' }]);
      for (const accept of ['text/event-stream, application/problem+json', '*/*']) {
        const other = await open('filter=a', { Accept: accept });
        expect(other.status).toBe(503);
        expect(Number(other.header('retry-after'))).toBeGreaterThan(0);
        await other.raw.over();
        expect(JSON.parse(other.body)).toMatchObject({ code: 'too_many_connections' });
      }
      expect(rooms.gateway.refused.get('too_many_connections')).toBe(3);
      first.close();
      await until(() => rooms.gateway.connections.size === 2, 'the first gone');
      expect((await open('filter=a')).status).toBe(200);
    });

    it('tell a draining server, after each stream was told to come back later', async () => {
      const client = await open('filter=a');
      await bystander.check();
      rooms.gateway.drain();
      const drain = await client.notice('drain');
      await client.raw.over();
      expect(client.blocks.at(-1)!.retry).toBe(drain.within);
      expect(drain.within).toBeGreaterThan(0);
      const back = await open('filter=a', { Accept: retryable });
      expect(back.notices('error')).toMatchObject([{ code: 'draining' }]);
      rooms.gateway.draining = false;
      bystander.close();
      bystander = await Bystander.open(rooms);
    });
  });

  it('delivers nothing behind the drain notice, though messages go on', async () => {
    const client = await open('filter=a');
    rooms.gateway.drain();
    await rooms.publish('a');
    await client.raw.over();
    expect(client.blocks.at(-1)!.event).toBe('tailrace');
    expect(client.raw.error).toBeUndefined();
    rooms.gateway.draining = false;
    bystander.close();
    bystander = await Bystander.open(rooms);
  });

  it('sees the client leave, whether it closes, ends its side, or resets', async () => {
    const before = rooms.gateway.connections.size;
    for (const leave of ['destroy', 'end', 'resetAndDestroy'] as const) {
      for (const query of ['filter=a', 'filter=a&from=earliest']) {
        const client = await open(query);
        client.raw.socket[leave]();
        await until(() => rooms.gateway.connections.size === before, `${leave} seen`);
      }
    }
  });

  it('sees the client that ended its side before the answer', async () => {
    const before = rooms.gateway.connections.size;
    await rooms.publish('a');
    for (const query of ['filter=a', 'filter=a&from=earliest', 'filter=a&from=last']) {
      const raw = await RawClient.open(rooms.port);
      raw.send(getRequest(`/v1/sse?${query}`)).end();
      await raw.over();
      await until(() => rooms.gateway.connections.size === before, 'gone');
      raw.destroy();
    }
  });

  it('serves streams that node:http had to read just the same', async () => {
    for (const headers of [{ 'Content-Length': '0' }, { TE: 'trailers' }, { 'X-Odd': 'a', 'x-odd': 'b' }]) {
      const client = await open('filter=a&from=earliest', headers);
      expect(client.status).toBe(200);
      expect(client.header('transfer-encoding')).toBeUndefined();
      const offset = await rooms.publish('a');
      await until(() => client.offsets.includes(offset), `messages with ${JSON.stringify(headers)}`);
      client.close();
    }
  });

  it('serves 200 streams of 200 clients the same bytes', async () => {
    const many = await Promise.all(range(1, 200).map(() => open('filter=a')));
    const sent = [];
    for (let i = 0; i < 50; i++) sent.push(await rooms.publish('a', `"${'x'.repeat(i * 10)}"`));
    for (const client of many) {
      await client.count(50);
      expect(client.offsets).toEqual(sent);
    }
  });
});

describe('a log that holds little', () => {
  it('tells a gap to a stream that was overtaken, never skips in silence', async () => {
    const rooms = await Rooms.open({ log: openMemoryLog({ hotBytes: 200_000 }) });
    const client = await SseClient.open(rooms.port, 'filter=a');
    client.raw.socket.pause();
    const sent: number[] = [];
    for (let i = 0; i < 400; i++) sent.push(await rooms.publish('a', `"${'x'.repeat(50_000)}"`));
    client.raw.socket.resume();
    await until(() => client.offsets.at(-1) === sent.at(-1), 'the newest', 20_000);
    let last = 0;
    let told = 0;
    for (const block of client.blocks) {
      if (block.event === 'tailrace') {
        const notice = JSON.parse(block.data!) as { type: string; cursor: string };
        if (notice.type === 'gap') told = parseCursor(notice.cursor).offset;
      } else {
        const { offset } = parseCursor(block.id!);
        expect(offset === last + 1 || offset === told + 1, `${offset} after ${last}`).toBe(true);
        last = offset;
      }
    }
    expect(told).toBeGreaterThan(0);
    client.close();
    await rooms.close();
  });
});
