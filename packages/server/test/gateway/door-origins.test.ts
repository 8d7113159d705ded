import { describe, expect, it } from 'vitest';
import { getRequest, statuses, upgradeRequest } from './raw-client.ts';
import { watchedRooms } from './watched-rooms.ts';

describe('the door', () => {
  const watched = watchedRooms();

  describe('origins and hosts', () => {
    const served: Record<string, string>[] = [
      {},
      { Host: 'localhost' },
      { Host: 'localhost:4080', Origin: 'http://localhost:4080' },
      { Host: '[::1]:4080' },
      { Origin: 'http://localhost:5173' },
      { Origin: 'https://127.0.0.1' },
      { 'Sec-Fetch-Site': 'same-origin' },
      { 'Sec-Fetch-Site': 'none' },
    ];
    const refused: [Record<string, string>, number][] = [
      [{ Origin: 'null' }, 403],
      [{ Origin: 'https://evil.example' }, 403],
      [{ Origin: 'http://localhost.evil.example' }, 403],
      [{ Origin: 'http://127.0.0.1.evil.example' }, 403],
      [{ Origin: 'file://' }, 403],
      [{ Origin: '' }, 403],
      [{ 'Sec-Fetch-Site': 'cross-site' }, 403],
      [{ Host: 'evil.example' }, 421],
      [{ Host: 'evil.example', Origin: 'http://evil.example' }, 421],
      [{ Host: '127.0.0.1.nip.io' }, 421],
      [{ Host: '' }, 400],
      [{ Host: 'localhost@evil.example' }, 400],
    ];

    it.each(served)('serves %j', async headers => {
      const sse = await watched.raw();
      sse.send(getRequest('/v1/sse?filter=a', headers));
      const text = await sse.has('"type":"live"');
      const { Origin: origin } = headers;
      if (origin === undefined) expect(text).not.toContain('Access-Control');
      else expect(text).toContain(`Access-Control-Allow-Origin: ${origin}\r\n`);
      expect([...text.matchAll(/\r\nVary: ([^\r]*)/gi)].map(match => match[1])).toEqual(['Origin, Accept']);
      const ws = await watched.raw();
      ws.send(upgradeRequest(headers));
      await ws.has('101 Switching Protocols');
    });

    it.each(refused)('refuses %j with %i', async (headers, status) => {
      for (const bytes of [
        getRequest('/v1/sse?filter=a', headers),
        upgradeRequest(headers),
        getRequest('/v1/sse?filter=a', { ...headers, 'Content-Length': '0', Connection: 'close' }),
        upgradeRequest({ ...headers, TE: 'trailers' }),
      ]) {
        const text = await watched.send(bytes);
        expect(statuses(text), bytes).toEqual([status]);
        expect(text).not.toContain('Access-Control-Allow-Origin');
        expect(text).not.toContain('event-stream\r\n');
      }
    });

    it('refuses an EventSource from elsewhere with its true status: it must not come back', async () => {
      const text = await watched.send(
        getRequest('/v1/sse?filter=a', { Origin: 'https://evil.example', Accept: 'text/event-stream' }),
      );
      expect(statuses(text)).toEqual([403]);
    });

    it('serves origins and hosts that are set', async () => {
      await watched.begin({ origins: { origins: ['https://app.example'], hosts: ['push.example'] } });
      const sse = await watched.raw();
      sse.send(getRequest('/v1/sse?filter=a', { Host: 'push.example', Origin: 'https://app.example' }));
      await sse.has('Access-Control-Allow-Origin: https://app.example\r\n');
      expect(statuses(await watched.send(getRequest('/v1/sse?filter=a', { Origin: 'http://localhost:5173' })))).toEqual(
        [403],
      );
    });
  });
});
