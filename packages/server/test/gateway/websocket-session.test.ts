import { describe, expect, it } from 'vitest';
import { range } from '../range.ts';
import { until } from './harness.ts';
import { upgradeRequest } from './raw-client.ts';
import { watchedRooms } from './watched-rooms.ts';
import { textFrame } from './websocket/client-frames.ts';

describe('a WebSocket session', () => {
  const watched = watchedRooms();

  it('says welcome after connect, with the ref, and subscribes what came with it', async () => {
    const client = await watched.webSocket();
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
    expect(watched.rooms.hub.sessions.has(welcome.session as string)).toBe(true);
    expect(await client.first('subscribed')).toMatchObject({ ref: 'c1', at: { index: 0 }, sub: 'a', filter: 'a' });
    await client.first('live');
  });

  it('says welcome before the first answer when there was no connect', async () => {
    const client = await watched.webSocket();
    client.send({ type: 'ping', ref: 7 });
    await client.first('pong');
    expect(client.frames.map(frame => frame.type)).toEqual(['welcome', 'pong']);
    expect(client.frames[0]).not.toHaveProperty('ref');
    expect(client.frames[1]).toMatchObject({ ref: 7, time: expect.any(Number) });
  });

  it('handles pipelined frames in order, also in one packet with the handshake', async () => {
    const client = await watched.raw();
    const frames = [
      { type: 'connect', ref: 1 },
      { type: 'subscribe', ref: 2, subscriptions: [{ filter: 'a', from: 'earliest' }] }, // has to look it up
      { type: 'publish', ref: 3, messages: [{ topic: 'a', data: 1 }] },
      { type: 'unsubscribe', ref: 4, subs: ['a'] },
      { type: 'ping', ref: 5 },
    ];
    client.send(Buffer.concat([Buffer.from(upgradeRequest()), ...frames.map(textFrame)]));
    await client.has('"ref":5');
    await client.has('"ref":3');
    const order = [...client.text.matchAll(/"type":"(\w+)","ref":(\d)/g)].map(match => `${match[1]}${match[2]}`);
    expect(order.filter(item => item !== 'published3')).toEqual(['welcome1', 'subscribed2', 'unsubscribed4', 'pong5']);
  });

  it('echoes refs as they came, and refuses others', async () => {
    const client = await watched.webSocket();
    for (const ref of [0, -5, 'x', 'x'.repeat(36), '😀'])
      expect(await client.ask({ type: 'ping', ref })).toMatchObject({ type: 'pong' });
    for (const [i, ref] of [1.5, 'x'.repeat(37), {}, null, true].entries()) {
      const bad = await watched.webSocket();
      bad.send({ type: 'ping', ref });
      expect(await bad.closed(), `${i}`).toBe(4400);
    }
  });

  it('lets each item of a subscribe succeed or fail alone', async () => {
    const client = await watched.webSocket();
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
    const sent = [
      await watched.rooms.publish('a'),
      await watched.rooms.publish('c/x'),
      await watched.rooms.publish('i'),
    ];
    await client.received(3);
    expect(client.offsets()).toEqual(sent);
  });

  it('delivers to each of several overlapping subscriptions', async () => {
    const client = await watched.webSocket();
    await client.subscribe('a/#', { sub: 'all' });
    await client.subscribe(['a/1', 'a/+'], { sub: 'one' });
    await client.subscribe('a/2', { sub: 'two' });
    const first = await watched.rooms.publish('a/1');
    const second = await watched.rooms.publish('a/2');
    await client.received(5);
    expect(client.offsets('all')).toEqual([first, second]);
    expect(client.offsets('one')).toEqual([first, second]);
    expect(client.offsets('two')).toEqual([second]);
  });

  it('sends nothing of a subscription behind `unsubscribed`', async () => {
    const client = await watched.webSocket();
    for (let round = 0; round < 20; round++) {
      await client.subscribe('a', { sub: `s${round}`, from: round % 2 === 0 ? 'now' : 'earliest' });
      const publishing = Promise.all(range(1, 20).map(() => watched.rooms.publish('a', `"${'x'.repeat(3000)}"`)));
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

  it('tells the end of a topic and stays open', async () => {
    const client = await watched.webSocket();
    await client.subscribe('a');
    await client.subscribe('b');
    await watched.rooms.publish('a', '', { end: true });
    expect(await client.first('end')).toMatchObject({ sub: 'a', topic: 'a' });
    expect(await client.first('unsubscribed')).toEqual({ type: 'unsubscribed', sub: 'a', code: 'topic_ended' });
    const offset = await watched.rooms.publish('b');
    await until(() => client.offsets('b').includes(offset), 'the other goes on');
    await client.subscribe('a');
  });

  it('counts topics that had ended before a subscription began', async () => {
    await watched.rooms.publish('a', '', { end: true });
    const client = await watched.webSocket();
    const { head } = watched.rooms.log;
    const cursor = watched.rooms.hub.tokens.of(head.offset, head.time);
    await client.subscribe(['a', 'b'], { sub: 'by cursor', cursor });
    await client.subscribe(['a', 'b'], { sub: 'now' });
    await watched.rooms.publish('b', '', { end: true });
    await until(() => client.of('unsubscribed').length === 2, 'the end of both');
    expect(client.of('end').map(({ sub, topic }) => [sub, topic])).toEqual([
      ['by cursor', 'b'],
      ['now', 'b'],
    ]);
  });

  it('tells one whose log cannot be read, and does not call it an end', async () => {
    const client = await watched.webSocket();
    await client.subscribe('a');
    const session = [...watched.rooms.hub.sessions.values()].find(
      ({ subscriptions }) => subscriptions[0]?.sub === 'a',
    )!;
    session.owner.onEnded(session, session.subscriptions[0]!, 'internal');
    expect(await client.first('unsubscribed')).toEqual({ type: 'unsubscribed', sub: 'a', code: 'internal' });
  });

  it('holds at most limits.subscriptions', async () => {
    await watched.begin({ hub: { subscriptionsMax: 3 } });
    const client = await watched.webSocket();
    for (let i = 0; i < 3; i++) await client.subscribe(`a/${i}`);
    expect(await client.subscribe('a/3')).toMatchObject({ type: 'error', code: 'too_many_subscriptions' });
    await client.ask({ type: 'unsubscribe', ref: 'u', subs: ['a/0'] });
    expect(await client.subscribe('a/3')).toMatchObject({ type: 'subscribed' });
  });

  it('carries any payload', async () => {
    const client = await watched.webSocket();
    await client.subscribe('a');
    const nasty = ['a\r\nb\rc\n', 'NUL \0 here', '😀 𝄞 é', '"}]}', '\u2028'];
    for (const item of nasty) await watched.rooms.publish('a', item, { contentType: 'text/plain' });
    const binary = Buffer.from(range(0, 255));
    await watched.rooms.publish('a', binary, { contentType: 'application/octet-stream' });
    await watched.rooms.publish('a', '{"a":\r\n1}');
    await client.received(nasty.length + 2);
    const messages = client.of('messages').flatMap(frame => frame.messages as Record<string, unknown>[]);
    expect(messages.slice(0, nasty.length).map(message => message.data)).toEqual(nasty);
    expect(messages.at(-2)).toMatchObject({ encoding: 'base64', data: binary.toString('base64') });
    expect(messages.at(-1)!.data).toEqual({ a: 1 });
  });

  it('cannot be made to hand one label the records of another', async () => {
    const client = await watched.webSocket();
    const other = await watched.webSocket();
    await client.subscribe(['a', 'b'], { sub: 'x' });
    await other.subscribe('b', { sub: 'x\na' });
    await watched.rooms.publish('a');
    const offset = await watched.rooms.publish('b');
    await until(() => other.offsets().includes(offset), 'its own');
    await client.received(2);
    expect(other.offsets()).toEqual([offset]);
    expect(new Set(other.of('messages').map(frame => frame.sub))).toEqual(new Set(['x\na']));
  });
});
