import { describe, expect, it } from 'vitest';
import { watchedRooms } from './watched-rooms.ts';

describe('a WebSocket session', () => {
  const watched = watchedRooms();

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
    const client = await watched.webSocket();
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
    const client = await watched.webSocket();
    client.send(frame);
    expect(await client.closed()).toBe(4400);
    expect(client.closeReason).toBe(code);
    expect(client.frames.map(({ type }) => type)).toEqual(['welcome', 'error']);
    expect(client.frames[1]).toMatchObject({ code });
    expect(client.frames[1]).not.toHaveProperty('ref');
  });

  it('refuses a binary message: JSON is text', async () => {
    const client = await watched.webSocket();
    client.socket.send(Buffer.from('{"type":"ping"}'));
    expect(await client.closed()).toBe(4400);
    expect(client.closeReason).toBe('unsupported');
  });

  it('refuses a second connect and goes on', async () => {
    const client = await watched.webSocket();
    await client.ask({ type: 'connect', ref: 1 });
    expect(await client.ask({ type: 'connect', ref: 2 })).toMatchObject({ type: 'error', code: 'bad_request' });
    const late = await watched.webSocket();
    await late.ask({ type: 'ping', ref: 1 });
    expect(await late.ask({ type: 'connect', ref: 2 })).toMatchObject({ type: 'error' });
  });

  it('refuses a message that is announced too large before it comes', async () => {
    await watched.begin({ gateway: { frameMax: 1000 } });
    const client = await watched.webSocket();
    client.send(JSON.stringify({ type: 'ping', ref: 'x', fill: 'y'.repeat(2000) }));
    expect(await client.closed()).toBe(1009);
    const just = await watched.webSocket();
    const frame = JSON.stringify({ type: 'publish', ref: 1, messages: [{ topic: 'a', data: '' }] });
    just.send(frame.replace('""', `"${'x'.repeat(1000 - frame.length)}"`));
    await just.first('published');
  });
});
