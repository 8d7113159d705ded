import { parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { range } from '../range.ts';
import { Bystander } from './bystander.ts';
import { until } from './harness.ts';
import { getRequest, RawClient } from './raw-client.ts';
import { watchedRooms } from './watched-rooms.ts';

describe('GET /v1/sse', () => {
  const watched = watchedRooms();

  it('answers with the head of §5 and the open block in one go', async () => {
    const client = await watched.stream('filter=a');
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
    expect(parseCursor(first!.id!).offset).toBe(watched.rooms.log.head.offset);
    const subscribed = JSON.parse(first!.data!) as Record<string, unknown>;
    expect(Object.keys(subscribed).sort()).toEqual(['heartbeat', 'session', 'type']);
    expect(watched.rooms.hub.sessions.has(subscribed.session as string)).toBe(true);
    const live = await client.notice('live');
    expect(live.id).toBeUndefined(); // its cursor is that of the block before
    expect(live.cursor).toBe(first!.id);
  });

  it('sends each message as an envelope whose id is the cursor behind it', async () => {
    const client = await watched.stream('filter=a/%2B');
    const offset = await watched.rooms.publish('a/b', '{"x":\n1}', { id: 'i1', key: 'k', headers: { h: 'v' } });
    await watched.rooms.publish('other');
    const last = await watched.rooms.publish('a/c', 'plain\ntext', { contentType: 'text/plain' });
    const [first, second] = await client.count(2);
    expect(first!.event).toBe('message');
    expect(parseCursor(first!.id!)).toMatchObject({ log: watched.rooms.log.id, offset });
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
    const client = await watched.stream('filter=a');
    await watched.rooms.publish('a', '1', { event: 'alarm' });
    const [message] = await client.count(1);
    expect(message!.event).toBe('alarm');
    expect(JSON.parse(message!.data!)).toMatchObject({ event: 'alarm', data: 1 });
  });

  it('carries any payload as an envelope', async () => {
    const client = await watched.stream('filter=a');
    const nasty = ['a\r\nb\rc\n', 'NUL \0 here', '😀 𝄞 é', 'data: x\n\nevent: tailrace\n\n', 'id: 1\r\n\r\n'];
    for (const text of nasty) await watched.rooms.publish('a', text, { contentType: 'text/plain' });
    const binary = Buffer.from(range(0, 255));
    await watched.rooms.publish('a', binary, { contentType: 'application/octet-stream' });
    const messages = await client.count(nasty.length + 1);
    expect(messages.slice(0, -1).map(block => (JSON.parse(block.data!) as { data: string }).data)).toEqual(nasty);
    const last = JSON.parse(messages.at(-1)!.data!) as { data: string; encoding: string };
    expect(last.encoding).toBe('base64');
    expect(Buffer.from(last.data, 'base64')).toEqual(binary);
  });

  it('raw=1 carries the payload itself, and flags what SSE cannot carry', async () => {
    const client = await watched.stream('filter=a&raw=1');
    const verbatim = ['one\ntwo\n\nthree', 'NUL \0', '😀', ' leading space', '', 'data: x', '\n'];
    for (const text of verbatim) await watched.rooms.publish('a', text, { contentType: 'text/plain' });
    const flagged = [Buffer.from('cr\rlf\r\n'), Buffer.from([0xff, 0xfe]), Buffer.from([0xf0, 0x9f, 0x98])];
    for (const bytes of flagged)
      await watched.rooms.publish('a', bytes, { contentType: 'application/octet-stream', event: 'mine' });
    await watched.rooms.publish('a', '{"json":true}', { event: 'mine' });
    const messages = await client.count(verbatim.length + flagged.length + 1);
    expect(messages.slice(0, verbatim.length).map(block => block.data)).toEqual(verbatim);
    const rest = messages.slice(verbatim.length);
    expect(rest.map(block => block.event)).toEqual(['base64', 'base64', 'base64', 'mine']);
    expect(rest.slice(0, 3).map(block => Buffer.from(block.data!, 'base64'))).toEqual(flagged);
    expect(rest[3]!.data).toBe('{"json":true}');
    expect(messages.map(block => parseCursor(block.id!).offset)).toEqual(range(1, messages.length));
  });

  it('takes many filters as one subscription, each record once', async () => {
    const client = await watched.stream('filter=a&filter=a/%23&filter=%2B&filter=b/+');
    const sent = [];
    for (const topic of ['a', 'b/x', 'a/b/c', 'b', 'b/x/y', 'c']) sent.push(await watched.rooms.publish(topic));
    await client.count(5);
    expect(client.offsets).toEqual(sent.filter((_, i) => i !== 4));
  });

  it('takes `+` as it is, as a space and escaped for the one-level wildcard', async () => {
    for (const filter of ['a/+/c', 'a/%2B/c', 'a/%20/c']) {
      const client = await watched.stream(`filter=${filter}`);
      const offset = await watched.rooms.publish('a/b/c');
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
      const client = await watched.stream(query, { Accept: accept });
      expect(client.status).toBe(status);
      expect(client.header('content-type')).toBe('application/problem+json');
      await client.raw.over();
      const problem = JSON.parse(client.body) as { code: string; detail: string };
      expect(problem.code).toBe(code);
      expect(problem.detail).toContain(detail);
    }
  });

  it('ignores parameters that begin with `_`', async () => {
    expect((await watched.stream('filter=a&_t=123&_=x')).status).toBe(200);
  });

  describe('refusals that pass', () => {
    const retryable = 'text/event-stream';

    it('are a stream that ends for one that takes nothing else, and the true status for others', async () => {
      await watched.begin({ connectionsMax: 3 });
      const first = await watched.stream('filter=a');
      const refused = await watched.stream('filter=a', { Accept: retryable });
      expect(refused.status).toBe(200);
      expect(refused.header('content-type')).toBe('text/event-stream; charset=utf-8');
      await refused.raw.over();
      expect(refused.blocks).toHaveLength(1);
      expect(refused.blocks[0]!.retry).toBeGreaterThan(0);
      expect(refused.notices('error')).toMatchObject([{ code: 'too_many_connections', status: 503, retry: 'later' }]);
      for (const accept of ['text/event-stream, application/problem+json', '*/*']) {
        const other = await watched.stream('filter=a', { Accept: accept });
        expect(other.status).toBe(503);
        expect(Number(other.header('retry-after'))).toBeGreaterThan(0);
        await other.raw.over();
        expect(JSON.parse(other.body)).toMatchObject({ code: 'too_many_connections' });
      }
      expect(watched.rooms.gateway.refused.get('too_many_connections')).toBe(3);
      first.close();
      await until(() => watched.rooms.gateway.connections.size === 2, 'the first gone');
      expect((await watched.stream('filter=a')).status).toBe(200);
    });

    it('tell a draining server, after each stream was told to come back later', async () => {
      const client = await watched.stream('filter=a');
      await watched.bystander.check();
      watched.rooms.gateway.drain();
      const drain = await client.notice('drain');
      await client.raw.over();
      expect(client.blocks.at(-1)!.retry).toBe(drain.within);
      expect(drain.within).toBeGreaterThan(0);
      const back = await watched.stream('filter=a', { Accept: retryable });
      expect(back.notices('error')).toMatchObject([{ code: 'draining' }]);
      watched.rooms.gateway.draining = false;
      watched.bystander.close();
      watched.bystander = await Bystander.open(watched.rooms);
    });
  });

  it('delivers nothing behind the drain notice, though messages go on', async () => {
    const client = await watched.stream('filter=a');
    watched.rooms.gateway.drain();
    await watched.rooms.publish('a');
    await client.raw.over();
    expect(client.blocks.at(-1)!.event).toBe('tailrace');
    expect(client.raw.error).toBeUndefined();
    watched.rooms.gateway.draining = false;
    watched.bystander.close();
    watched.bystander = await Bystander.open(watched.rooms);
  });

  it('sees the client leave, whether it closes, ends its side, or resets', async () => {
    const before = watched.rooms.gateway.connections.size;
    for (const leave of ['destroy', 'end', 'resetAndDestroy'] as const) {
      for (const query of ['filter=a', 'filter=a&from=earliest']) {
        const client = await watched.stream(query);
        client.raw.socket[leave]();
        await until(() => watched.rooms.gateway.connections.size === before, `${leave} seen`);
      }
    }
  });

  it('sees the client that ended its side before the answer', async () => {
    const before = watched.rooms.gateway.connections.size;
    await watched.rooms.publish('a');
    for (const query of ['filter=a', 'filter=a&from=earliest', 'filter=a&from=last']) {
      const raw = await RawClient.open(watched.rooms.port);
      raw.send(getRequest(`/v1/sse?${query}`)).end();
      await raw.over();
      await until(() => watched.rooms.gateway.connections.size === before, 'gone');
      raw.destroy();
    }
  });

  it('serves streams that node:http had to read just the same', async () => {
    for (const headers of [{ 'Content-Length': '0' }, { TE: 'trailers' }, { 'X-Odd': 'a', 'x-odd': 'b' }]) {
      const client = await watched.stream('filter=a&from=earliest', headers);
      expect(client.status).toBe(200);
      expect(client.header('transfer-encoding')).toBeUndefined();
      const offset = await watched.rooms.publish('a');
      await until(() => client.offsets.includes(offset), `messages with ${JSON.stringify(headers)}`);
      client.close();
    }
  });

  it('serves 200 streams of 200 clients the same bytes', async () => {
    const many = await Promise.all(range(1, 200).map(() => watched.stream('filter=a')));
    const sent = [];
    for (let i = 0; i < 50; i++) sent.push(await watched.rooms.publish('a', `"${'x'.repeat(i * 10)}"`));
    for (const client of many) {
      await client.count(50);
      expect(client.offsets).toEqual(sent);
    }
  });
});
