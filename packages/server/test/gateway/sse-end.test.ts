import { describe, expect, it } from 'vitest';
import { until } from './harness.ts';
import { watchedRooms } from './watched-rooms.ts';

describe('GET /v1/sse', () => {
  const watched = watchedRooms();

  describe('the end of a topic', () => {
    it('is told, ends the stream, and answers 204 to who comes back', async () => {
      const client = await watched.stream('filter=a');
      const wild = await watched.stream('filter=a/%23');
      await watched.rooms.publish('a');
      await watched.rooms.publish('a', '', { end: true });
      const end = await client.notice('end');
      expect(end).toMatchObject({ topic: 'a', id: watched.cursor(2), cursor: watched.cursor(2) });
      await client.raw.over();
      expect(client.offsets).toEqual([1, 2]);
      expect(wild.notices('end')).toEqual([]);
      for (const accept of ['text/event-stream', '*/*']) {
        const back = await watched.stream('filter=a', { 'Last-Event-ID': client.lastId!, Accept: accept });
        expect(back.status).toBe(204);
        await back.raw.over();
        expect(back.body).toBe('');
      }
      // one that had not seen the end does
      const late = await watched.stream(`filter=a&cursor=${watched.cursor(1)}`);
      await late.notice('end');
      expect(late.offsets).toEqual([2]);
      await late.raw.over();
    });

    it('lets go of a client that never closes its side', async () => {
      const before = watched.rooms.gateway.connections.size;
      const client = await watched.stream('filter=a');
      await watched.rooms.publish('a', '', { end: true });
      await client.raw.over();
      expect(client.raw.closed).toBe(false); // allowHalfOpen: we keep our side
      await until(() => watched.rooms.gateway.connections.size === before, 'the connection let go', 12_000);
    });

    it('waits for the other topics of the stream', async () => {
      const client = await watched.stream('filter=a&filter=b');
      await watched.rooms.publish('a', '', { end: true });
      await client.notice('end');
      const offset = await watched.rooms.publish('b');
      await until(() => client.offsets.includes(offset), 'the other topic');
      await watched.rooms.publish('b', '', { end: true });
      await client.raw.over();
      expect(client.notices('end').map(notice => notice.topic)).toEqual(['a', 'b']);
    });
  });

  describe('a topic that had ended before the cursor', () => {
    it.each([
      ['with a cursor behind its end', () => `&cursor=${watched.cursor(2)}`],
      ['from now', () => ''],
    ])('counts, so that the stream is over with the last of the others: %s', async (_, begin) => {
      await watched.rooms.publish('a', '', { end: true });
      await watched.rooms.publish('b');
      const client = await watched.stream(`filter=a&filter=b&filter=c${begin()}`);
      await client.notice('live');
      await watched.rooms.publish('b', '', { end: true });
      const offset = await watched.rooms.publish('c');
      await until(() => client.offsets.includes(offset), 'the one that goes on');
      await watched.rooms.publish('c', '', { end: true });
      await client.raw.over();
      expect(client.notices('end').map(notice => notice.topic)).toEqual(['b', 'c']);
      const back = await watched.stream('filter=a&filter=b&filter=c', { 'Last-Event-ID': client.lastId! });
      expect(back.status).toBe(204);
    });

    it('does not count once retention has taken its end', async () => {
      await watched.rooms.publish('a', '', { end: true });
      await watched.rooms.log.trim(1);
      const client = await watched.stream('filter=a&filter=b');
      await client.notice('live');
      await watched.rooms.publish('b', '', { end: true });
      await client.notice('end');
      const offset = await watched.rooms.publish('a');
      await until(() => client.offsets.includes(offset), 'a topic that may be used again');
    });
  });
});
