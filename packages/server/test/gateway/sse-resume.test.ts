import { parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { openMemoryLog } from '../../src/log/index.ts';
import { range } from '../range.ts';
import { Rooms, until } from './harness.ts';
import { getRequest, RawClient } from './raw-client.ts';
import { SseClient } from './sse-client.ts';
import { watchedRooms } from './watched-rooms.ts';

describe('GET /v1/sse', () => {
  const watched = watchedRooms();

  describe('resume', () => {
    it('goes on behind the cursor: header before parameter before `from`', async () => {
      for (let i = 0; i < 6; i++) await watched.rooms.publish('a');
      const cases: [string, Record<string, string>, number][] = [
        [`filter=a&cursor=${watched.cursor(2)}`, {}, 2],
        ['filter=a', { 'Last-Event-ID': watched.cursor(4) }, 4],
        [`filter=a&cursor=${watched.cursor(1)}&from=earliest`, { 'Last-Event-ID': watched.cursor(5) }, 5],
        [`filter=a&cursor=${watched.cursor(3)}&from=earliest`, {}, 3],
        [`filter=a&cursor=${watched.cursor(3)}`, { 'Last-Event-ID': '' }, 3],
        [`filter=a&cursor=${watched.cursor(0)}`, {}, 0],
      ];
      for (const [query, headers, from] of cases) {
        const client = await watched.stream(query, headers);
        expect(client.notices('subscribed')).toMatchObject([
          { recovered: true, id: headers['Last-Event-ID'] || watched.cursor(from) },
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
        const client = await watched.stream('filter=a', id === undefined ? {} : { 'Last-Event-ID': id });
        const want = 1 + (round % 5);
        for (let i = 0; i < want; i++) sent.push(await watched.rooms.publish('a'));
        await client.count(1);
        got.push(...client.offsets);
        id = client.lastId;
        client.close();
      }
      const client = await watched.stream('filter=a', { 'Last-Event-ID': id! });
      await until(() => got.length + client.offsets.length >= sent.length, 'the rest');
      expect([...got, ...client.offsets]).toEqual(sent);
    });

    it('from: now, earliest, last, last:N, @offset, -5m, a time with zone', async () => {
      for (let i = 1; i <= 6; i++) await watched.rooms.publish(i % 2 === 0 ? 'a/1' : 'a/2');
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
        const client = await watched.stream(`filter=a/%23&from=${from}`);
        await client.notice('live');
        expect(client.offsets, from).toEqual(expected);
        expect(client.notices('subscribed')[0], from).not.toHaveProperty('recovered');
        const next = await watched.rooms.publish('b/none');
        expect(next).toBeGreaterThan(0);
      }
    });

    it('says so when retention took what lies behind the cursor, and goes on at once', async () => {
      for (let i = 0; i < 10; i++) await watched.rooms.publish('a');
      const old = watched.cursor(3);
      await watched.rooms.log.trim(6);
      const client = await watched.stream(`filter=a&cursor=${old}`);
      await client.notice('live');
      expect(client.notices('subscribed')).toMatchObject([{ recovered: false, id: old }]);
      const gap = await client.notice('gap');
      expect(gap).toMatchObject({ after: old, reason: 'trimmed' });
      expect(gap.id).toBe(gap.cursor);
      expect(parseCursor(gap.id as string).offset).toBe(6);
      expect(gap).not.toHaveProperty('sub');
      expect(client.offsets).toEqual(range(7, 10));
      const earliest = await watched.stream('filter=a&from=earliest');
      await earliest.notice('gap');
      await earliest.count(4);
    });

    it.each([
      ['of another log', () => watched.cursor(3, { log: 'otherlog' }), 'epoch'],
      ['of an unknown epoch', () => watched.cursor(3, { epoch: 5 }), 'epoch'],
      ['beyond the head', () => watched.cursor(999), 'ahead'],
      ['with a forged time', () => watched.cursor(999, { time: 1 }), 'ahead'],
    ])('resets on a cursor %s', async (_, token, reason) => {
      for (let i = 0; i < 5; i++) await watched.rooms.publish('a');
      const client = await watched.stream(`filter=a&cursor=${token()}`);
      const reset = await client.notice('reset');
      expect(reset).toMatchObject({ reason });
      expect(reset.id).toBe(reset.cursor);
      expect(client.notices('subscribed')[0]).toMatchObject({ recovered: false, id: reset.cursor });
      await client.notice('live');
      const offset = await watched.rooms.publish('a');
      await until(() => client.offsets.includes(offset), 'what comes after the reset');
      // and its cursor is good from now on
      const again = await watched.stream(`filter=a&cursor=${client.lastId}`);
      expect(again.notices('subscribed')[0]).toMatchObject({ recovered: true });
    });

    it('refuses a Last-Event-ID with control characters and takes no harm from it', async () => {
      for (const bad of ['k\tx', 'k\x01', 'k\x7f', 'k\x00']) {
        const raw = await RawClient.open(watched.rooms.port);
        raw.send(getRequest('/v1/sse?filter=a', { 'Last-Event-ID': bad }));
        expect(await raw.over()).toMatch(/^HTTP\/1\.1 400 /);
        raw.destroy();
      }
    });
  });

  it('moves the cursor of a quiet stream by comment blocks that dispatch nothing', async () => {
    await watched.begin({ hub: { heartbeat: 300 }, gateway: { heartbeat: { sse: 300, websocket: 300 } } });
    const client = await watched.stream('filter=a');
    await watched.rooms.publish('other');
    await until(() => client.blocks.some(block => block.comment && block.id !== undefined), 'a cursor heartbeat');
    const moved = client.blocks.find(block => block.comment && block.id !== undefined)!;
    expect(moved).toMatchObject({ data: undefined, event: 'message', id: watched.cursor(1) });
    await until(
      () => client.blocks.filter(block => block.comment && block.id === undefined).length >= 2,
      'plain heartbeats',
    );
    expect(client.messages).toEqual([]);
    const offset = await watched.rooms.publish('a');
    await client.count(1);
    expect(client.offsets).toEqual([offset]);
  });

  it('sends class `none` without id, and resumes as if it had never been', async () => {
    const client = await watched.stream('filter=a');
    await watched.rooms.publish('a');
    await watched.rooms.publish('a', '"live"', { durability: 'none' });
    const messages = await client.count(2);
    expect(messages[1]!.id).toBeUndefined();
    expect(JSON.parse(messages[1]!.data!)).toEqual({ topic: 'a', time: expect.any(Number), data: 'live' });
    const again = await watched.stream('filter=a', { 'Last-Event-ID': client.lastId! });
    await again.notice('live');
    expect(again.messages).toEqual([]);
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
