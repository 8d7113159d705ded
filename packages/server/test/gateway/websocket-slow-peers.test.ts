import { describe, expect, it } from 'vitest';
import { range } from '../range.ts';
import { until } from './harness.ts';
import { watchedRooms } from './watched-rooms.ts';
import { clientFrame, textFrame } from './websocket/client-frames.ts';

describe('a WebSocket session', () => {
  const watched = watchedRooms();

  describe('a peer that never reads', () => {
    it('is read no further once its answers pile up, and nothing is kept for it', async () => {
      const client = await watched.upgraded();
      client.socket.pause();
      const frame = textFrame({
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
      await until(() => watched.rooms.hub.catchUp.lagging.size === 1, 'lagging');
      await until(() => watched.rooms.hub.publisher.inFlight === 0, 'its publishes answered');
      gc!();
      const after = process.memoryUsage();
      expect(client.socket.writableLength).toBeGreaterThan(0);
      const hot = watched.rooms.log.hot.bytes;
      expect(after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers - hot * 2).toBeLessThan(
        24 * 1024 * 1024,
      );
      client.destroy();
    });

    it('gets no pongs to fill memory with', async () => {
      const client = await watched.upgraded();
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
      const slow = await watched.upgraded();
      const fast = await watched.webSocket();
      slow.send(textFrame({ type: 'subscribe', subscriptions: [{ filter: 'a' }] }));
      await slow.has('"live"');
      await fast.subscribe('a');
      slow.socket.pause();
      const sent: number[] = [];
      for (let i = 0; i < 300; i++) sent.push(await watched.rooms.publish('a', `"${'x'.repeat(40_000)}"`));
      expect(await fast.received(300)).toEqual(sent);
      expect(watched.rooms.hub.catchUp.lagging.size).toBe(1);
      slow.socket.resume();
      await until(() => slow.text.includes(`"offset":${sent.at(-1)}`), 'everything', 20_000);
      const got = [...slow.text.matchAll(/"topic":"a","offset":(\d+)/g)].map(match => Number(match[1]));
      expect(got).toEqual(sent);
    });
  });

  it('a flood of pings costs no memory and no other client its messages', async () => {
    const client = await watched.upgraded();
    const pings = Buffer.concat(range(1, 1000).map(() => clientFrame({ opcode: 9 })));
    for (let i = 0; i < 100; i++) {
      client.send(pings);
      if (i % 10 === 0) await watched.bystander.publish();
      await until(() => client.socket.writableLength < 200_000, 'taken');
    }
    const pongs = (): number => client.bytes.length - client.text.indexOf('\r\n\r\n') - 4;
    await until(() => pongs() > 0, 'some pongs');
  });
});
