import { type Cursor, formatCursor, parseCursor } from '@tailrace/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ClientOptions } from 'ws';
import { openMemoryLog } from '../../src/log/index.ts';
import { Bystander } from './bystander.ts';
import { type RoomOptions, Rooms, until } from './harness.ts';
import { heldLog } from './held-log.ts';
import { RawClient, upgradeRequest } from './raw-client.ts';
import { clientFrame } from './websocket/client-frames.ts';
import { type Frame, WsClient } from './ws-client.ts';

const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const text = (frame: unknown): Buffer => clientFrame({ opcode: 1, payload: JSON.stringify(frame) });

/** Every frame that moves a subscription's cursor continues where the one before ended. */
function expectChain(frames: readonly Frame[], sub: string): void {
  let last: unknown;
  for (const frame of frames) {
    if (frame.sub !== sub || frame.cursor === undefined) continue;
    if (frame.type === 'live') expect(frame.cursor).toBe(last);
    else if (frame.type === 'subscribed') last = frame.cursor;
    else {
      expect(frame.after, JSON.stringify(frame)).toBe(last);
      last = frame.cursor;
    }
  }
}

describe('a WebSocket session', () => {
  let rooms: Rooms;
  let bystander: Bystander;
  const clients: (WsClient | RawClient)[] = [];

  async function begin(options: RoomOptions = {}): Promise<void> {
    if (rooms !== undefined) await rooms.close();
    rooms = await Rooms.open(options);
    bystander = await Bystander.open(rooms);
  }

  async function open(options?: ClientOptions): Promise<WsClient> {
    const client = await WsClient.open(rooms.port, options);
    clients.push(client);
    return client;
  }

  /** A connection whose bytes are in the test's hand, after its handshake. */
  async function openRaw(): Promise<RawClient> {
    const client = await RawClient.open(rooms.port);
    clients.push(client);
    client.send(upgradeRequest());
    await client.has('101 Switching');
    return client;
  }

  const subscribe = (client: WsClient, filter: string | string[], more: Record<string, unknown> = {}): Promise<Frame> =>
    client.ask({ type: 'subscribe', ref: `s${client.frames.length}`, subscriptions: [{ filter, ...more }] });

  beforeEach(() => begin());
  afterEach(async () => {
    await bystander.check();
    for (const client of clients.splice(0)) 'close' in client ? client.close() : client.destroy();
    bystander.close();
    await until(() => rooms.gateway.connections.size === 0, 'no connection left');
    expect(rooms.hub.sessions.size).toBe(0);
    expect(rooms.hub.cohorts.size).toBe(0);
    expect(rooms.gateway.wheel.size).toBe(0);
    await rooms.close();
  });

  it('says welcome after connect, with the ref, and subscribes what came with it', async () => {
    const client = await open();
    const welcome = await client.ask({
      type: 'connect',
      ref: 'c1',
      previous: 'abc',
      client: { name: 'test', version: '1' },
      subscribe: [{ filter: 'a' }],
    });
    expect(welcome).toMatchObject({
      type: 'welcome',
      server: 'tailrace/test',
      protocol: 'tailrace.v1.json',
      heartbeat: 25_000,
      features: [],
    });
    expect(rooms.hub.sessions.has(welcome.session as string)).toBe(true);
    expect(await client.first('subscribed')).toMatchObject({ ref: 'c1', at: { index: 0 }, sub: 'a', filter: 'a' });
    await client.first('live');
  });

  it('says welcome before the first answer when there was no connect', async () => {
    const client = await open();
    client.send({ type: 'ping', ref: 7 });
    await client.first('pong');
    expect(client.frames.map(frame => frame.type)).toEqual(['welcome', 'pong']);
    expect(client.frames[0]).not.toHaveProperty('ref');
    expect(client.frames[1]).toMatchObject({ ref: 7, time: expect.any(Number) });
  });

  it('handles pipelined frames in order, also in one packet with the handshake', async () => {
    const client = await RawClient.open(rooms.port);
    clients.push(client);
    const frames = [
      { type: 'connect', ref: 1 },
      { type: 'subscribe', ref: 2, subscriptions: [{ filter: 'a', from: 'earliest' }] }, // has to look it up
      { type: 'publish', ref: 3, messages: [{ topic: 'a', data: 1 }] },
      { type: 'unsubscribe', ref: 4, subs: ['a'] },
      { type: 'ping', ref: 5 },
    ];
    client.send(Buffer.concat([Buffer.from(upgradeRequest()), ...frames.map(text)]));
    await client.has('"ref":5');
    await client.has('"ref":3');
    const order = [...client.text.matchAll(/"type":"(\w+)","ref":(\d)/g)].map(match => `${match[1]}${match[2]}`);
    expect(order.filter(item => item !== 'published3')).toEqual(['welcome1', 'subscribed2', 'unsubscribed4', 'pong5']);
  });

  it('echoes refs as they came, and refuses others', async () => {
    const client = await open();
    for (const ref of [0, -5, 'x', 'x'.repeat(36), '😀'])
      expect(await client.ask({ type: 'ping', ref })).toMatchObject({ type: 'pong' });
    for (const [i, ref] of [1.5, 'x'.repeat(37), {}, null, true].entries()) {
      const bad = await open();
      bad.send({ type: 'ping', ref });
      expect(await bad.closed(), `${i}`).toBe(4400);
    }
  });

  it('lets each item of a subscribe succeed or fail alone', async () => {
    const client = await open();
    client.send({
      type: 'subscribe',
      ref: 1,
      subscriptions: [
        { filter: 'a' },
        { filter: 'a//b' },
        { filter: 'a' },
        { filter: ['b', 'c/#'], sub: 'both' },
        { filter: 'd', cursr: 'x' },
        { filter: 'e', cursor: 'nonsense' },
        { filter: 'f', from: 'last:3' },
        { filter: 'g', group: 'workers' },
        'h',
        { filter: 'i' },
      ],
    });
    await client.find(frame => frame.type === 'subscribed' && frame.sub === 'i');
    const told = client.frames.filter(frame => frame.ref === 1);
    const outcome = told.map(frame => [
      (frame.at as { index: number }).index,
      frame.type === 'error' ? frame.code : frame.sub,
    ]);
    expect(outcome).toEqual([
      [0, 'a'],
      [1, 'filter_invalid'],
      [2, 'already_subscribed'],
      [3, 'both'],
      [4, 'unknown_field'],
      [5, 'cursor_invalid'],
      [6, 'f'],
      [7, 'unsupported'],
      [8, 'bad_request'],
      [9, 'i'],
    ]);
    expect(told[4]!.detail).toContain('cursor');
    expect(told[3]!.filter).toEqual(['b', 'c/#']);
    const sent = [await rooms.publish('a'), await rooms.publish('c/x'), await rooms.publish('i')];
    await client.received(3);
    expect(client.offsets()).toEqual(sent);
  });

  it('delivers to each of several overlapping subscriptions', async () => {
    const client = await open();
    await subscribe(client, 'a/#', { sub: 'all' });
    await subscribe(client, ['a/1', 'a/+'], { sub: 'one' });
    await subscribe(client, 'a/2', { sub: 'two' });
    const first = await rooms.publish('a/1');
    const second = await rooms.publish('a/2');
    await client.received(5);
    expect(client.offsets('all')).toEqual([first, second]);
    expect(client.offsets('one')).toEqual([first, second]);
    expect(client.offsets('two')).toEqual([second]);
  });

  it('keeps the chain of cursors across messages and heartbeats', async () => {
    await begin({ hub: { heartbeat: 300 }, gateway: { heartbeat: { sse: 300, websocket: 300 } } });
    const client = await open();
    await subscribe(client, 'a');
    await subscribe(client, ['a', 'b'], { sub: 'ab', from: 'earliest' });
    for (let i = 0; i < 5; i++) {
      const cursors = client.of('cursor').length;
      await rooms.publish('a');
      await rooms.publish('other');
      await until(() => client.of('cursor').length > cursors, 'a cursor heartbeat');
      await rooms.publish('b');
    }
    await client.received(5, 'a');
    await client.received(10, 'ab');
    expectChain(client.frames, 'a');
    expectChain(client.frames, 'ab');
  });

  it('recovers on a good cursor, tells gap and reset otherwise', async () => {
    for (let i = 0; i < 10; i++) await rooms.publish('a');
    const client = await open();
    const { head } = rooms.log;
    const old = rooms.hub.tokens.of(2, head.time);
    expect(
      await subscribe(client, 'a', { sub: 'good', cursor: rooms.hub.tokens.of(7, rooms.log.hot.timeAt(7)!) }),
    ).toMatchObject({ recovered: true });
    expect(await client.received(3, 'good')).toEqual([8, 9, 10]);
    await rooms.log.trim(5);
    expect(await subscribe(client, 'a', { sub: 'gap', cursor: old })).toMatchObject({ recovered: false, cursor: old });
    expect(await client.received(5, 'gap')).toEqual(range(6, 10));
    expect(client.of('gap')).toMatchObject([{ sub: 'gap', after: old, reason: 'trimmed' }]);
    const far = rooms.hub.tokens.of(10, head.time).replace('.10.', '.999.');
    expect(await subscribe(client, 'a', { sub: 'reset', cursor: far })).toMatchObject({ recovered: false });
    expect(client.of('reset')).toMatchObject([{ sub: 'reset', reason: 'ahead' }]);
    const fresh = await subscribe(client, 'a', { sub: 'fresh' });
    expect(fresh).not.toHaveProperty('recovered');
    const next = await rooms.publish('a');
    await until(() => client.offsets().filter(offset => offset === next).length === 4, 'all four');
    for (const sub of ['good', 'gap', 'fresh']) expectChain(client.frames, sub);
  });

  it.each(['"y"', '{"polluted":"y"}'])('refuses the message header __proto__: %s', async value => {
    const client = await open();
    const before = rooms.log.head.offset;
    client.send(
      `{"type":"publish","ref":1,"messages":[{"topic":"a","data":1,"headers":{"__proto__":${value},"x":"y"}}]}`,
    );
    const answer = await client.answer(1);
    expect(JSON.stringify(answer)).toContain('"code":"bad_request"');
    expect(JSON.stringify(answer)).toContain('__proto__');
    expect(rooms.log.head.offset).toBe(before);
    expect({}).not.toHaveProperty('polluted');
  });

  it('grants a cursor with the time that the log knows, not the one that came', async () => {
    for (let i = 0; i < 5; i++) await rooms.publish('a');
    const client = await open();
    for (const offset of [3, 5]) {
      const good = rooms.hub.tokens.of(offset, rooms.log.hot.timeAt(offset)!);
      const forged = rooms.hub.tokens.of(offset, 9e12);
      expect(await subscribe(client, 'a', { sub: `s${offset}`, cursor: forged })).toMatchObject({
        cursor: good,
        recovered: true,
      });
    }
  });

  describe('a cursor that does not fit', () => {
    const cursor = (offset: number, fields: Partial<Cursor> = {}): string =>
      formatCursor({
        log: rooms.log.id,
        epoch: rooms.log.head.epoch,
        offset,
        time: rooms.log.hot.timeAt(offset) ?? 0,
        ...fields,
      });

    it.each([
      ['', 'bad_request'],
      ['garbage', 'cursor_invalid'],
      ['k', 'cursor_invalid'],
      ['klog1.1.5', 'cursor_invalid'],
      ['klog1.1.-5.1', 'cursor_invalid'],
      ['klog1.1.5.1.1', 'cursor_invalid'],
      ['klog1.1.0x5.1', 'cursor_invalid'],
      [' klog1.1.5.1', 'cursor_invalid'],
      ['klog1.1.5.1\n', 'cursor_invalid'],
      ['Klog1.1.5.1', 'cursor_invalid'],
      ['klog1.1.9999999999999999.1', 'cursor_invalid'],
      [`klog1.${'z'.repeat(11)}.5.1`, 'cursor_invalid'],
      ['k'.repeat(2000), 'bad_request'],
      ['\0', 'cursor_invalid'],
      ['\u{1f600}', 'cursor_invalid'],
    ])('is refused alone when no server has made it: %.40j', async (token, code) => {
      const client = await open();
      await subscribe(client, 'a', { sub: 'good' });
      const answer = await subscribe(client, 'a', { sub: 'bad', cursor: token });
      expect(answer).toMatchObject({ type: 'error', sub: 'bad', code, status: 400, retry: 'never' });
      expect(answer.at).toMatchObject({ index: 0 });
      const offset = await rooms.publish('a');
      expect(await client.received(1)).toEqual([offset]);
      expect(client.offsets('good')).toEqual([offset]);
      // the label is free: nothing is left of the one refused
      expect(await subscribe(client, 'a', { sub: 'bad' })).toMatchObject({ type: 'subscribed' });
    });

    it.each<[string, () => string, string]>([
      ['of another log', () => cursor(3, { log: 'otherlog' }), 'epoch'],
      ['of an epoch that this log never had', () => cursor(3, { epoch: 5 }), 'epoch'],
      ['beyond the head', () => cursor(999), 'ahead'],
      ['one beyond the head', () => cursor(6), 'ahead'],
      ['beyond the head with a forged time', () => cursor(999, { time: 1 }), 'ahead'],
      ['of another log with a time that is yet to come', () => cursor(3, { log: 'otherlog', time: 9e12 }), 'epoch'],
    ])('resets when it is %s', async (_, token, reason) => {
      for (let i = 0; i < 5; i++) await rooms.publish('a');
      const client = await open();
      const subscribed = await subscribe(client, 'a', { sub: 'x', cursor: token() });
      const reset = await client.first('reset');
      expect(reset).toMatchObject({ sub: 'x', reason });
      expect(subscribed).toMatchObject({ type: 'subscribed', recovered: false, cursor: reset.cursor });
      await client.first('live');
      const offset = await rooms.publish('a');
      await until(() => client.offsets().includes(offset), 'what comes after the reset');
      expect(new Set(client.offsets()).size).toBe(client.offsets().length);
      // and the cursor that it gave is good from now on
      const again = await open();
      expect(await subscribe(again, 'a', { cursor: reset.cursor })).toMatchObject({ recovered: true });
      expect(await again.received(client.offsets().length)).toEqual(client.offsets());
    });

    it('tells the gap when it lies before the first record that is kept', async () => {
      for (let i = 0; i < 10; i++) await rooms.publish('a');
      const tokens = [cursor(0), cursor(4, { time: rooms.log.hot.timeAt(4)! })];
      const first = cursor(5);
      await rooms.log.trim(5);
      for (const [i, token] of tokens.entries()) {
        const client = await open();
        expect(await subscribe(client, 'a', { sub: 'x', cursor: token })).toMatchObject({ recovered: false });
        const gap = await client.first('gap');
        expect(gap).toMatchObject({ sub: 'x', after: token, reason: 'trimmed' });
        expect(parseCursor(gap.cursor as string).offset).toBe(5);
        expect(await client.received(5), `cursor ${i}`).toEqual(range(6, 10));
        expectChain(client.frames, 'x');
      }
      const client = await open();
      expect(await subscribe(client, 'a', { sub: 'x', cursor: first })).toMatchObject({ recovered: true });
      expect(await client.received(5)).toEqual(range(6, 10));
      expect(client.of('gap')).toEqual([]);
    });

    it('is read from the beginning when nothing has been removed', async () => {
      for (let i = 0; i < 3; i++) await rooms.publish('a');
      const client = await open();
      expect(await subscribe(client, 'a', { cursor: cursor(0) })).toMatchObject({ recovered: true });
      expect(await client.received(3)).toEqual([1, 2, 3]);
    });
  });

  it('resumes after a cut with the last cursor: nothing lost, nothing twice', async () => {
    const got: number[] = [];
    let cursor: string | undefined;
    const sent: number[] = [];
    for (let round = 0; round < 20; round++) {
      const client = await open();
      const more = cursor === undefined ? {} : { cursor };
      cursor = (await subscribe(client, 'a', more)).cursor as string;
      for (let i = 0; i <= round % 4; i++) sent.push(await rooms.publish('a'));
      await client.received(1);
      got.push(...client.offsets());
      cursor = client.frames.findLast(frame => frame.cursor !== undefined)!.cursor as string;
      client.close();
    }
    const client = await open();
    await subscribe(client, 'a', { cursor });
    await until(() => got.length + client.offsets().length >= sent.length, 'the rest');
    expect([...got, ...client.offsets()]).toEqual(sent);
  });

  it('sends nothing of a subscription behind `unsubscribed`', async () => {
    const client = await open();
    for (let round = 0; round < 20; round++) {
      await subscribe(client, 'a', { sub: `s${round}`, from: round % 2 === 0 ? 'now' : 'earliest' });
      const publishing = Promise.all(range(1, 20).map(() => rooms.publish('a', `"${'x'.repeat(3000)}"`)));
      await client.ask({ type: 'unsubscribe', ref: `u${round}`, subs: [`s${round}`] });
      await publishing;
    }
    await client.ask({ type: 'ping', ref: 'end' });
    for (let round = 0; round < 20; round++) {
      const end = client.frames.findIndex(frame => frame.type === 'unsubscribed' && frame.sub === `s${round}`);
      expect(client.frames.slice(end + 1).some(frame => frame.sub === `s${round}`)).toBe(false);
    }
    expect(await client.ask({ type: 'unsubscribe', ref: 'x', subs: ['nope'] })).toMatchObject({
      type: 'error',
      code: 'not_subscribed',
      at: { sub: 'nope' },
    });
  });

  it('publishes in order and stops at the first failure', async () => {
    const client = await open();
    const answer = await client.ask({
      type: 'publish',
      ref: 1,
      messages: [
        { topic: 'a', data: 1 },
        { topic: 'a', data: 2, durability: 'none' },
        { topic: 'a//b', data: 3 },
        { topic: 'a', data: 4 },
      ],
    });
    expect(answer.results).toMatchObject([
      { offset: 1, duplicate: false },
      { duplicate: false },
      { error: { code: 'topic_invalid', at: { index: 2 } } },
      { error: { code: 'not_attempted', at: { index: 3 } } },
    ]);
    expect(rooms.log.head.offset).toBe(1);
    await rooms.publish('ended', '', { end: true });
    const second = await client.ask({
      type: 'publish',
      ref: 2,
      messages: [{ topic: 'a', data: 5 }, { topic: 'ended', data: 6 }, { topic: 'a//b' }, { topic: 'a' }],
    });
    expect((second.results as { error?: { code: string } }[]).map(result => result.error?.code)).toEqual([
      undefined,
      'topic_ended',
      'not_attempted',
      'not_attempted',
    ]);
    expect((await client.ask({ type: 'publish', ref: 3, messages: [] })).results).toEqual([]);
    const first = await client.ask({ type: 'publish', ref: 4, messages: [{ topic: '$sys/x', data: 1 }] });
    expect(first.results).toMatchObject([{ error: { code: 'publish_forbidden' } }]);
    const duplicate = { type: 'publish', messages: [{ topic: 'a', id: 'same', data: 1 }] };
    const once = await client.ask({ ...duplicate, ref: 5 });
    const twice = await client.ask({ ...duplicate, ref: 6 });
    expect((twice.results as object[])[0]).toEqual({ ...(once.results as object[])[0], duplicate: true });
  });

  it('answers publishes that cannot be taken now, and goes on', async () => {
    const client = await open();
    rooms.hub.publisher.draining = true;
    const answer = await client.ask({
      type: 'publish',
      ref: 1,
      messages: [
        { topic: 'a', data: 1 },
        { topic: 'a', data: 2 },
      ],
    });
    expect(answer.results).toMatchObject([{ error: { code: 'draining' } }, { error: { code: 'not_attempted' } }]);
    rooms.hub.publisher.draining = false;
    expect((await client.ask({ type: 'publish', ref: 2, messages: [{ topic: 'a', data: 1 }] })).results).toMatchObject([
      { duplicate: false },
    ]);
  });

  it('takes hundreds of publish frames in flight, and answers each', async () => {
    const client = await open();
    await subscribe(client, 'a');
    for (let i = 0; i < 500; i++) client.send({ type: 'publish', ref: i, messages: [{ topic: 'a', data: i }] });
    await until(() => client.of('published').length === 500, 'every answer');
    expect(client.of('published').map(frame => frame.ref)).toEqual(range(0, 499));
    await client.received(500);
    const data = client
      .of('messages')
      .flatMap(frame => (frame.messages as { data: number }[]).map(message => message.data));
    expect(data).toEqual(range(0, 499));
  });

  it.each([
    [{ type: 'subscribe', subscription: [] }, 'unknown_field', 'subscriptions'],
    [{ type: 'subscribr' }, 'unknown_field', 'subscribe'],
    [{ type: 'ack', sub: 'a', cursor: 'x' }, 'unsupported', 'later version'],
    [{ type: 'refresh', token: 'x' }, 'unsupported', 'later version'],
    [{ type: 'subscribe', subscriptions: 'a' }, 'bad_request', 'array'],
    [{ type: 'publish', messages: [{}] }, undefined, ''],
    [
      { type: 'subscribe', subscriptions: Array.from({ length: 1001 }, () => ({ filter: 'a' })) },
      'payload_too_large',
      '1001',
    ],
    [{ type: 'connect', ref: 9, token: 5 }, 'bad_request', 'token'],
  ])('refuses %j by ref and stays open', async (frame, code, detail) => {
    const client = await open();
    await client.ask({ type: 'ping', ref: 0 });
    const answer = await client.ask({ ref: 1, ...frame });
    if (code !== undefined) {
      expect(answer).toMatchObject({ type: 'error', code });
      expect(answer.detail).toContain(detail);
    }
    expect(await client.ask({ type: 'ping', ref: 2 })).toMatchObject({ type: 'pong' });
  });

  it.each([
    ['what is not JSON', '{"type":', 'bad_request'],
    ['what is not an object', '[]', 'bad_request'],
    ['a frame without type', '{}', 'unknown_field'],
    ['a frame of unknown type without ref', '{"type":"zzz"}', 'unknown_field'],
    ['an empty message', '', 'bad_request'],
  ])('says why and closes with 4000 + status on %s', async (_, frame, code) => {
    const client = await open();
    client.send(frame);
    expect(await client.closed()).toBe(4400);
    expect(client.closeReason).toBe(code);
    expect(client.frames.map(({ type }) => type)).toEqual(['welcome', 'error']);
    expect(client.frames[1]).toMatchObject({ code });
    expect(client.frames[1]).not.toHaveProperty('ref');
  });

  it('refuses a binary message: JSON is text', async () => {
    const client = await open();
    client.socket.send(Buffer.from('{"type":"ping"}'));
    expect(await client.closed()).toBe(4400);
    expect(client.closeReason).toBe('unsupported');
  });

  it('refuses a second connect and goes on', async () => {
    const client = await open();
    await client.ask({ type: 'connect', ref: 1 });
    expect(await client.ask({ type: 'connect', ref: 2 })).toMatchObject({ type: 'error', code: 'bad_request' });
    const late = await open();
    await late.ask({ type: 'ping', ref: 1 });
    expect(await late.ask({ type: 'connect', ref: 2 })).toMatchObject({ type: 'error' });
  });

  it('refuses a message that is announced too large before it comes', async () => {
    await begin({ gateway: { frameMax: 1000 } });
    const client = await open();
    client.send(JSON.stringify({ type: 'ping', ref: 'x', fill: 'y'.repeat(2000) }));
    expect(await client.closed()).toBe(1009);
    const just = await open();
    const frame = JSON.stringify({ type: 'publish', ref: 1, messages: [{ topic: 'a', data: '' }] });
    just.send(frame.replace('""', `"${'x'.repeat(1000 - frame.length)}"`));
    await just.first('published');
  });

  it('closes what breaks the protocol, with the code that says how', async () => {
    const cases: [Buffer, number][] = [
      [clientFrame({ opcode: 1, payload: '{}', mask: null }), 1002],
      [clientFrame({ opcode: 3 }), 1002],
      [clientFrame({ opcode: 1, rsv: 4, payload: '{}' }), 1002],
      [clientFrame({ opcode: 9, payload: 'x', fin: false }), 1002],
      [clientFrame({ opcode: 1, payload: Buffer.from([0xff]) }), 1007],
      [clientFrame({ opcode: 8, payload: Buffer.from([0x03, 0xed]) }), 1002],
    ];
    for (const [bytes, code] of cases) {
      const client = await openRaw();
      const skip = client.bytes.length;
      client.send(bytes);
      await client.over();
      const close = client.bytes.subarray(client.bytes.indexOf(0x88, skip));
      expect(close.readUInt16BE(2)).toBe(code);
    }
  });

  it('answers a close with a close, and is gone', async () => {
    const before = rooms.gateway.connections.size;
    for (const code of [1000, 1001, 3000, 4999]) {
      const client = await open();
      await subscribe(client, 'a');
      client.socket.close(code, 'bye');
      await client.closed();
    }
    await until(() => rooms.gateway.connections.size === before, 'gone');
  });

  it('cuts one who closes but never ends, and one who never answers our close', async () => {
    const before = rooms.gateway.connections.size;
    const closing = await openRaw();
    closing.send(clientFrame({ opcode: 8, payload: Buffer.from([0x03, 0xe8]) }));
    const refused = await openRaw();
    refused.send(text({}));
    await until(() => rooms.gateway.connections.size === before, 'gone', 15_000);
  });

  it('closes when no frame comes within connect.timeout', async () => {
    await begin({ gateway: { connectTimeout: 400 } });
    const client = await open();
    const busy = await openRaw();
    busy.send(clientFrame({ opcode: 9, payload: 'x' })); // a ping is no frame of the protocol
    expect(await client.closed()).toBe(4408);
    expect(client.closeReason).toBe('connect_timeout');
    await busy.over();
  });

  it('sends heartbeats and pings that a script and a stack can see', async () => {
    await begin({ gateway: { heartbeat: { sse: 300, websocket: 300 } } });
    const client = await open();
    await client.ask({ type: 'connect', ref: 1 });
    await until(() => client.pings >= 2 && client.of('heartbeat').length >= 2, 'two heartbeats');
    expect(client.of('heartbeat')[0]).toEqual({ type: 'heartbeat', time: expect.any(Number) });
  });

  it('cuts a peer that answers no ping three times over, not one that does', async () => {
    await begin({ gateway: { heartbeat: { sse: 200, websocket: 200 }, connectTimeout: 2000 } });
    const before = rooms.gateway.connections.size;
    const dead = await open({ autoPong: false });
    const alive = await open();
    const talking = await open({ autoPong: false });
    for (const client of [dead, alive, talking]) await client.ask({ type: 'connect', ref: 1 });
    let ref = 0;
    await until(() => {
      if (++ref % 5 === 0) talking.send({ type: 'ping', ref });
      return dead.closeCode !== undefined;
    }, 'the silent one cut');
    expect(dead.pings).toBeGreaterThanOrEqual(3);
    expect(rooms.gateway.cut.get('silent')).toBe(1);
    expect([alive.closeCode, talking.closeCode]).toEqual([undefined, undefined]);
    expect(rooms.gateway.connections.size).toBe(before + 2);
  });

  it('answers what it publishes before it drains', async () => {
    const { log, release } = heldLog();
    await begin({ log, hub: { publishDeadline: 60_000 } });
    const client = await open();
    await client.ask({ type: 'connect', ref: 'c' });
    for (let ref = 1; ref <= 100; ref++) client.send({ type: 'publish', ref, messages: [{ topic: 'x', data: ref }] });
    await until(() => rooms.hub.publisher.inFlight === 64, 'as many as may be in flight');
    rooms.hub.publisher.draining = true;
    rooms.gateway.drain();
    await until(() => client.of('drain').length === 1, 'told');
    release();
    expect(await client.closed()).toBe(1001);
    const answers = client.of('published') as unknown as {
      ref: number;
      results: { offset?: number; error?: { code: string } }[];
    }[];
    const appended = answers.filter(({ results }) => results[0]?.offset !== undefined);
    expect(appended.map(({ ref }) => ref)).toEqual(range(1, 64));
    expect(log.head.offset).toBe(64);
    for (const { ref, results } of answers) if (ref > 64) expect(results[0]?.error?.code).toBe('draining');
    rooms.hub.publisher.draining = false;
    rooms.gateway.draining = false;
    bystander.close();
    bystander = await Bystander.open(rooms);
  });

  it('drains with a notice and 1001', async () => {
    const client = await open();
    await subscribe(client, 'a');
    await bystander.check();
    rooms.gateway.drain();
    expect(await client.closed()).toBe(1001);
    expect(client.of('drain')).toEqual([{ type: 'drain', within: expect.any(Number) }]);
    rooms.gateway.draining = false;
    bystander.close();
    bystander = await Bystander.open(rooms);
  });

  it('tells the end of a topic and stays open', async () => {
    const client = await open();
    await subscribe(client, 'a');
    await subscribe(client, 'b');
    await rooms.publish('a', '', { end: true });
    expect(await client.first('end')).toMatchObject({ sub: 'a', topic: 'a' });
    expect(await client.first('unsubscribed')).toEqual({ type: 'unsubscribed', sub: 'a', code: 'topic_ended' });
    const offset = await rooms.publish('b');
    await until(() => client.offsets('b').includes(offset), 'the other goes on');
    await subscribe(client, 'a');
  });

  it('counts topics that had ended before a subscription began', async () => {
    await rooms.publish('a', '', { end: true });
    const client = await open();
    const { head } = rooms.log;
    const cursor = rooms.hub.tokens.of(head.offset, head.time);
    await subscribe(client, ['a', 'b'], { sub: 'by cursor', cursor });
    await subscribe(client, ['a', 'b'], { sub: 'now' });
    await rooms.publish('b', '', { end: true });
    await until(() => client.of('unsubscribed').length === 2, 'the end of both');
    expect(client.of('end').map(({ sub, topic }) => [sub, topic])).toEqual([
      ['by cursor', 'b'],
      ['now', 'b'],
    ]);
  });

  it('tells one whose log cannot be read, and does not call it an end', async () => {
    const client = await open();
    await subscribe(client, 'a');
    const session = [...rooms.hub.sessions.values()].find(({ subscriptions }) => subscriptions[0]?.sub === 'a')!;
    session.owner.onEnded(session, session.subscriptions[0]!, 'internal');
    expect(await client.first('unsubscribed')).toEqual({ type: 'unsubscribed', sub: 'a', code: 'internal' });
  });

  it('holds at most limits.subscriptions', async () => {
    await begin({ hub: { subscriptionsMax: 3 } });
    const client = await open();
    for (let i = 0; i < 3; i++) await subscribe(client, `a/${i}`);
    expect(await subscribe(client, 'a/3')).toMatchObject({ type: 'error', code: 'too_many_subscriptions' });
    await client.ask({ type: 'unsubscribe', ref: 'u', subs: ['a/0'] });
    expect(await subscribe(client, 'a/3')).toMatchObject({ type: 'subscribed' });
  });

  it('carries any payload', async () => {
    const client = await open();
    await subscribe(client, 'a');
    const nasty = ['a\r\nb\rc\n', 'NUL \0 here', '😀 𝄞 é', '"}]}', '\u2028'];
    for (const item of nasty) await rooms.publish('a', item, { contentType: 'text/plain' });
    const binary = Buffer.from(range(0, 255));
    await rooms.publish('a', binary, { contentType: 'application/octet-stream' });
    await rooms.publish('a', '{"a":\r\n1}');
    await client.received(nasty.length + 2);
    const messages = client.of('messages').flatMap(frame => frame.messages as Record<string, unknown>[]);
    expect(messages.slice(0, nasty.length).map(message => message.data)).toEqual(nasty);
    expect(messages.at(-2)).toMatchObject({ encoding: 'base64', data: binary.toString('base64') });
    expect(messages.at(-1)!.data).toEqual({ a: 1 });
  });

  it('cannot be made to hand one label the records of another', async () => {
    const client = await open();
    const other = await open();
    await subscribe(client, ['a', 'b'], { sub: 'x' });
    await subscribe(other, 'b', { sub: 'x\na' });
    await rooms.publish('a');
    const offset = await rooms.publish('b');
    await until(() => other.offsets().includes(offset), 'its own');
    await client.received(2);
    expect(other.offsets()).toEqual([offset]);
    expect(new Set(other.of('messages').map(frame => frame.sub))).toEqual(new Set(['x\na']));
  });

  describe('a peer that never reads', () => {
    it('is read no further once its answers pile up, and nothing is kept for it', async () => {
      const client = await openRaw();
      client.socket.pause();
      const frame = text({
        type: 'publish',
        ref: 'r'.repeat(36),
        messages: range(1, 50).map(() => ({ topic: 'flood', data: 1 })),
      });
      gc!();
      const before = process.memoryUsage();
      let sent = 0;
      // the socket stops taking bytes once the server stops reading
      while (sent < 64 * 1024 * 1024 && client.socket.writableLength < 1024 * 1024) {
        client.socket.write(frame);
        sent += frame.length;
        if (sent % (64 * frame.length) === 0) await new Promise(resolve => setImmediate(resolve));
      }
      await until(() => rooms.hub.catchUp.lagging.size === 1, 'lagging');
      await until(() => rooms.hub.publisher.inFlight === 0, 'its publishes answered');
      gc!();
      const after = process.memoryUsage();
      expect(client.socket.writableLength).toBeGreaterThan(0);
      const hot = rooms.log.hot.bytes;
      expect(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers - hot * 2).toBeLessThan(
        24 * 1024 * 1024,
      );
      client.destroy();
    });

    it('gets no pongs to fill memory with', async () => {
      const client = await openRaw();
      client.socket.pause();
      const pings = Buffer.concat(range(1, 500).map(() => clientFrame({ opcode: 9, payload: 'x'.repeat(125) })));
      gc!();
      const before = process.memoryUsage().arrayBuffers;
      for (let i = 0; i < 400; i++) {
        if (client.socket.writableLength > 512 * 1024) break;
        client.send(pings);
        await new Promise(resolve => setImmediate(resolve));
      }
      await until(
        () => {
          gc!();
          return process.memoryUsage().arrayBuffers - before < 4 * 1024 * 1024;
        },
        () => `memory given back, ${process.memoryUsage().arrayBuffers - before} bytes are more`,
      );
      client.destroy();
    });

    it('does not hold back those who do, and is told nothing behind what it missed', async () => {
      const slow = await openRaw();
      const fast = await open();
      slow.send(text({ type: 'subscribe', subscriptions: [{ filter: 'a' }] }));
      await slow.has('"live"');
      await subscribe(fast, 'a');
      slow.socket.pause();
      const sent: number[] = [];
      for (let i = 0; i < 300; i++) sent.push(await rooms.publish('a', `"${'x'.repeat(40_000)}"`));
      expect(await fast.received(300)).toEqual(sent);
      expect(rooms.hub.catchUp.lagging.size).toBe(1);
      slow.socket.resume();
      await until(() => slow.text.includes(`"offset":${sent.at(-1)}`), 'everything', 20_000);
      const got = [...slow.text.matchAll(/"topic":"a","offset":(\d+)/g)].map(match => Number(match[1]));
      expect(got).toEqual(sent);
    });
  });

  it('a flood of pings costs no memory and no other client its messages', async () => {
    const client = await openRaw();
    const pings = Buffer.concat(range(1, 1000).map(() => clientFrame({ opcode: 9 })));
    for (let i = 0; i < 100; i++) {
      client.send(pings);
      if (i % 10 === 0) await bystander.publish();
      await until(() => client.socket.writableLength < 200_000, 'taken');
    }
    const pongs = (): number => client.bytes.length - client.text.indexOf('\r\n\r\n') - 4;
    await until(() => pongs() > 0, 'some pongs');
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
