import { describe, expect, it } from 'vitest';
import { range } from '../range.ts';
import { Bystander } from './bystander.ts';
import { until } from './harness.ts';
import { heldLog } from './held-log.ts';
import { watchedRooms } from './watched-rooms.ts';

describe('a WebSocket session', () => {
  const watched = watchedRooms();

  it.each(['"y"', '{"polluted":"y"}'])('refuses the message header __proto__: %s', async value => {
    const client = await watched.webSocket();
    const before = watched.rooms.log.head.offset;
    client.send(
      `{"type":"publish","ref":1,"messages":[{"topic":"a","data":1,"headers":{"__proto__":${value},"x":"y"}}]}`,
    );
    const answer = await client.answer(1);
    expect(JSON.stringify(answer)).toContain('"code":"bad_request"');
    expect(JSON.stringify(answer)).toContain('__proto__');
    expect(watched.rooms.log.head.offset).toBe(before);
    expect({}).not.toHaveProperty('polluted');
  });

  it('publishes in order and stops at the first failure', async () => {
    const client = await watched.webSocket();
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
    expect(watched.rooms.log.head.offset).toBe(1);
    await watched.rooms.publish('ended', '', { end: true });
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
    const client = await watched.webSocket();
    watched.rooms.hub.publisher.draining = true;
    const answer = await client.ask({
      type: 'publish',
      ref: 1,
      messages: [
        { topic: 'a', data: 1 },
        { topic: 'a', data: 2 },
      ],
    });
    expect(answer.results).toMatchObject([{ error: { code: 'draining' } }, { error: { code: 'not_attempted' } }]);
    watched.rooms.hub.publisher.draining = false;
    expect((await client.ask({ type: 'publish', ref: 2, messages: [{ topic: 'a', data: 1 }] })).results).toMatchObject([
      { duplicate: false },
    ]);
  });

  it('takes hundreds of publish frames in flight, and answers each', async () => {
    const client = await watched.webSocket();
    await client.subscribe('a');
    for (let i = 0; i < 500; i++) client.send({ type: 'publish', ref: i, messages: [{ topic: 'a', data: i }] });
    await until(() => client.of('published').length === 500, 'every answer');
    expect(client.of('published').map(frame => frame.ref)).toEqual(range(0, 499));
    await client.received(500);
    const data = client
      .of('messages')
      .flatMap(frame => (frame.messages as { data: number }[]).map(message => message.data));
    expect(data).toEqual(range(0, 499));
  });

  it('answers what it publishes before it drains', async () => {
    const { log, release } = heldLog();
    await watched.begin({ log, hub: { publishDeadline: 60_000 } });
    const client = await watched.webSocket();
    await client.ask({ type: 'connect', ref: 'c' });
    for (let ref = 1; ref <= 100; ref++) client.send({ type: 'publish', ref, messages: [{ topic: 'x', data: ref }] });
    await until(() => watched.rooms.hub.publisher.inFlight === 64, 'as many as may be in flight');
    watched.rooms.hub.publisher.draining = true;
    watched.rooms.gateway.drain();
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
    watched.rooms.hub.publisher.draining = false;
    watched.rooms.gateway.draining = false;
    watched.bystander.close();
    watched.bystander = await Bystander.open(watched.rooms);
  });
});
