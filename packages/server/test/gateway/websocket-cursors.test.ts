import { parseCursor } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { openMemoryLog } from '../../src/log/index.ts';
import { range } from '../range.ts';
import { Rooms, until } from './harness.ts';
import { watchedRooms } from './watched-rooms.ts';
import { expectChain, WsClient } from './ws-client.ts';

describe('a WebSocket session', () => {
  const watched = watchedRooms();

  it('keeps the chain of cursors across messages and heartbeats', async () => {
    await watched.begin({ hub: { heartbeat: 300 }, gateway: { heartbeat: { sse: 300, websocket: 300 } } });
    const client = await watched.webSocket();
    await client.subscribe('a');
    await client.subscribe(['a', 'b'], { sub: 'ab', from: 'earliest' });
    for (let i = 0; i < 5; i++) {
      const cursors = client.of('cursor').length;
      await watched.rooms.publish('a');
      await watched.rooms.publish('other');
      await until(() => client.of('cursor').length > cursors, 'a cursor heartbeat');
      await watched.rooms.publish('b');
    }
    await client.received(5, 'a');
    await client.received(10, 'ab');
    expectChain(client.frames, 'a');
    expectChain(client.frames, 'ab');
  });

  it('recovers on a good cursor, tells gap and reset otherwise', async () => {
    for (let i = 0; i < 10; i++) await watched.rooms.publish('a');
    const client = await watched.webSocket();
    const { head } = watched.rooms.log;
    const old = watched.rooms.hub.tokens.of(2, head.time);
    expect(
      await client.subscribe('a', {
        sub: 'good',
        cursor: watched.rooms.hub.tokens.of(7, watched.rooms.log.hot.timeAt(7)!),
      }),
    ).toMatchObject({ recovered: true });
    expect(await client.received(3, 'good')).toEqual([8, 9, 10]);
    await watched.rooms.log.trim(5);
    expect(await client.subscribe('a', { sub: 'gap', cursor: old })).toMatchObject({ recovered: false, cursor: old });
    expect(await client.received(5, 'gap')).toEqual(range(6, 10));
    expect(client.of('gap')).toMatchObject([{ sub: 'gap', after: old, reason: 'trimmed' }]);
    const far = watched.rooms.hub.tokens.of(10, head.time).replace('.10.', '.999.');
    expect(await client.subscribe('a', { sub: 'reset', cursor: far })).toMatchObject({ recovered: false });
    expect(client.of('reset')).toMatchObject([{ sub: 'reset', reason: 'ahead' }]);
    const fresh = await client.subscribe('a', { sub: 'fresh' });
    expect(fresh).not.toHaveProperty('recovered');
    const next = await watched.rooms.publish('a');
    await until(() => client.offsets().filter(offset => offset === next).length === 4, 'all four');
    for (const sub of ['good', 'gap', 'fresh']) expectChain(client.frames, sub);
  });

  it('grants a cursor with the time that the log knows, not the one that came', async () => {
    for (let i = 0; i < 5; i++) await watched.rooms.publish('a');
    const client = await watched.webSocket();
    for (const offset of [3, 5]) {
      const good = watched.rooms.hub.tokens.of(offset, watched.rooms.log.hot.timeAt(offset)!);
      const forged = watched.rooms.hub.tokens.of(offset, 9e12);
      expect(await client.subscribe('a', { sub: `s${offset}`, cursor: forged })).toMatchObject({
        cursor: good,
        recovered: true,
      });
    }
  });

  describe('a cursor that does not fit', () => {
    it.each([
      ['', 'bad_request'],
      ['garbage', 'cursor_invalid'],
      ['k', 'cursor_invalid'],
      ['klog1.1.5', 'cursor_invalid'],
      ['klog1.1.-5.1', 'cursor_invalid'],
      ['klog1.1.5.1.x', 'cursor_invalid'],
      ['klog1.1.5.1.1.1', 'cursor_invalid'],
      ['klog1.1.0x5.1', 'cursor_invalid'],
      [' klog1.1.5.1', 'cursor_invalid'],
      ['klog1.1.5.1\n', 'cursor_invalid'],
      ['Klog1.1.5.1', 'cursor_invalid'],
      ['klog1.1.9999999999999999.1', 'cursor_invalid'],
      [`klog1.${'z'.repeat(11)}.5.1`, 'cursor_invalid'],
      ['k'.repeat(5000), 'bad_request'],
      ['\0', 'cursor_invalid'],
      ['\u{1f600}', 'cursor_invalid'],
    ])('is refused alone when no server has made it: %.40j', async (token, code) => {
      const client = await watched.webSocket();
      await client.subscribe('a', { sub: 'good' });
      const answer = await client.subscribe('a', { sub: 'bad', cursor: token });
      expect(answer).toMatchObject({ type: 'error', sub: 'bad', code, status: 400, retry: 'never' });
      expect(answer.at).toMatchObject({ index: 0 });
      const offset = await watched.rooms.publish('a');
      expect(await client.received(1)).toEqual([offset]);
      expect(client.offsets('good')).toEqual([offset]);
      // the label is free: nothing is left of the one refused
      expect(await client.subscribe('a', { sub: 'bad' })).toMatchObject({ type: 'subscribed' });
    });

    it.each<[string, () => string, string]>([
      ['of another log', () => watched.cursor(3, { log: 'otherlog' }), 'epoch'],
      ['of an epoch that this log never had', () => watched.cursor(3, { epoch: 5 }), 'epoch'],
      ['beyond the head', () => watched.cursor(999), 'ahead'],
      ['one beyond the head', () => watched.cursor(6), 'ahead'],
      ['beyond the head with a forged time', () => watched.cursor(999, { time: 1 }), 'ahead'],
      [
        'of another log with a time that is yet to come',
        () => watched.cursor(3, { log: 'otherlog', time: 9e12 }),
        'epoch',
      ],
    ])('resets when it is %s', async (_, token, reason) => {
      for (let i = 0; i < 5; i++) await watched.rooms.publish('a');
      const client = await watched.webSocket();
      const subscribed = await client.subscribe('a', { sub: 'x', cursor: token() });
      const reset = await client.first('reset');
      expect(reset).toMatchObject({ sub: 'x', reason });
      expect(subscribed).toMatchObject({ type: 'subscribed', recovered: false, cursor: reset.cursor });
      await client.first('live');
      const offset = await watched.rooms.publish('a');
      await until(() => client.offsets().includes(offset), 'what comes after the reset');
      expect(new Set(client.offsets()).size).toBe(client.offsets().length);
      // and the cursor that it gave is good from now on
      const again = await watched.webSocket();
      expect(await again.subscribe('a', { cursor: reset.cursor })).toMatchObject({ recovered: true });
      expect(await again.received(client.offsets().length)).toEqual(client.offsets());
    });

    it('tells the gap when it lies before the first record that is kept', async () => {
      for (let i = 0; i < 10; i++) await watched.rooms.publish('a');
      const tokens = [watched.cursor(0), watched.cursor(4, { time: watched.rooms.log.hot.timeAt(4)! })];
      const first = watched.cursor(5);
      await watched.rooms.log.trim(5);
      for (const [i, token] of tokens.entries()) {
        const client = await watched.webSocket();
        expect(await client.subscribe('a', { sub: 'x', cursor: token })).toMatchObject({ recovered: false });
        const gap = await client.first('gap');
        expect(gap).toMatchObject({ sub: 'x', after: token, reason: 'trimmed' });
        expect(parseCursor(gap.cursor as string).offset).toBe(5);
        expect(await client.received(5), `cursor ${i}`).toEqual(range(6, 10));
        expectChain(client.frames, 'x');
      }
      const client = await watched.webSocket();
      expect(await client.subscribe('a', { sub: 'x', cursor: first })).toMatchObject({ recovered: true });
      expect(await client.received(5)).toEqual(range(6, 10));
      expect(client.of('gap')).toEqual([]);
    });

    it('is read from the beginning when nothing has been removed', async () => {
      for (let i = 0; i < 3; i++) await watched.rooms.publish('a');
      const client = await watched.webSocket();
      expect(await client.subscribe('a', { cursor: watched.cursor(0) })).toMatchObject({ recovered: true });
      expect(await client.received(3)).toEqual([1, 2, 3]);
    });
  });

  it('resumes after a cut with the last cursor: nothing lost, nothing twice', async () => {
    const got: number[] = [];
    let cursor: string | undefined;
    const sent: number[] = [];
    for (let round = 0; round < 20; round++) {
      const client = await watched.webSocket();
      const more = cursor === undefined ? {} : { cursor };
      cursor = (await client.subscribe('a', more)).cursor as string;
      for (let i = 0; i <= round % 4; i++) sent.push(await watched.rooms.publish('a'));
      await client.received(1);
      got.push(...client.offsets());
      cursor = client.frames.findLast(frame => frame.cursor !== undefined)!.cursor as string;
      client.close();
    }
    const client = await watched.webSocket();
    await client.subscribe('a', { cursor });
    await until(() => got.length + client.offsets().length >= sent.length, 'the rest');
    expect([...got, ...client.offsets()]).toEqual(sent);
  });
});

describe('a session over a log that holds little', () => {
  it('is told each gap, with an unbroken chain', async () => {
    const rooms = await Rooms.open({ log: openMemoryLog({ hotBytes: 300_000 }) });
    const client = await WsClient.open(rooms.port);
    await client.ask({ type: 'subscribe', ref: 1, subscriptions: [{ filter: 'a' }] });
    client.socket.pause();
    const sent: number[] = [];
    for (let i = 0; i < 400; i++) sent.push(await rooms.publish('a', `"${'x'.repeat(50_000)}"`));
    client.socket.resume();
    await until(() => client.offsets().at(-1) === sent.at(-1), 'the newest', 20_000);
    expectChain(client.frames, 'a');
    let expected = 1;
    for (const frame of client.frames) {
      if (frame.type === 'gap') expected = parseCursor(frame.cursor as string).offset + 1;
      else if (frame.type === 'messages')
        for (const { offset } of frame.messages as { offset: number }[]) expect(offset).toBe(expected++);
    }
    expect(client.of('gap').length).toBeGreaterThan(0);
    client.close();
    await rooms.close();
  });
});
