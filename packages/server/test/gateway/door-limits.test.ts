import { describe, expect, it } from 'vitest';
import { until } from './harness.ts';
import { getRequest, publishRequest, statuses, upgradeRequest } from './raw-client.ts';
import { watchedRooms } from './watched-rooms.ts';

describe('the door', () => {
  const watched = watchedRooms();

  describe('limits', () => {
    it('refuses a head beyond limits.header, whoever would read it', async () => {
      await watched.begin({ headerMax: 2000 });
      const long = 'x'.repeat(3000);
      const cases = [
        getRequest('/ok', { X: long }),
        getRequest('/v1/sse?filter=a', { X: long }),
        getRequest(`/v1/sse?filter=a&_=${long}`),
        upgradeRequest({ X: long }),
        publishRequest('a', '1', `X: ${long}\r\n`),
        `GET /v1/sse?filter=a HTTP/1.1\r\n${'a: b\r\n'.repeat(1000)}`,
        `GET /v1/sse?filter=${'a'.repeat(5000)}`,
        `POST /v1/topics/${'a'.repeat(5000)}`,
      ];
      for (const bytes of cases) {
        const text = await watched.send(bytes);
        expect(statuses(text), bytes.slice(0, 60)).toEqual([431]);
        expect(text).toContain('"code":"headers_too_large"');
      }
    });

    it('takes a head of just under the limit on either way', async () => {
      await watched.begin({ headerMax: 2000 });
      const fits = (request: (fill: string) => string): string => request('x'.repeat(1900 - request('').length));
      const sse = await watched.raw();
      sse.send(fits(x => getRequest('/v1/sse?filter=a', { X: x })));
      await sse.has('"type":"live"');
      const other = await watched.raw();
      other.send(fits(x => getRequest('/ok', { X: x })));
      expect(statuses(await other.has('/ok'))).toEqual([200]);
    });

    it('answers 408 to a head that does not arrive in time, and cuts one who says nothing', async () => {
      await watched.begin({ headerTimeout: 400 });
      const silent = await watched.raw();
      const slow = await Promise.all(
        ['GET /v1/sse?fil', 'GET /ok HTTP/1.1\r\nHost: 127.', 'POST /v1/topics/a HTTP/1.1\r\nHost', 'G'].map(
          async bytes => (await watched.raw()).send(bytes),
        ),
      );
      expect(await silent.over()).toBe('');
      for (const client of slow) {
        const text = await client.over();
        expect(text === '' || statuses(text)[0] === 408, text).toBe(true);
      }
      expect(statuses(slow[0]!.text)).toEqual([408]);
      expect(statuses(slow[1]!.text)).toEqual([408]);
    });

    it('is not held open by one who sends a byte now and then', async () => {
      await watched.begin({ headerTimeout: 500 });
      const client = await watched.raw();
      const request = getRequest('/v1/sse?filter=a', { X: 'y'.repeat(500) });
      let sent = 0;
      while (!client.ended && !client.closed && sent < request.length) {
        client.send(request[sent++]!);
        await new Promise(resolve => setTimeout(resolve, 20));
      }
      await client.over();
      expect(sent).toBeLessThan(request.length);
      expect(statuses(client.text)).toEqual([408]);
    });

    it('drops connections beyond limits.connections and the spare ones', async () => {
      await watched.begin({ connectionsMax: 5, spare: 2 });
      // the watched.bystander holds two
      const held = [];
      for (let i = 0; i < 5; i++) held.push((await watched.raw()).send('GET /ok'));
      await until(() => watched.rooms.door.connectionCount === 7, 'all taken');
      const beyond = await watched.raw();
      expect(await beyond.over()).toBe('');
      expect(watched.rooms.gateway.refused.get('too_many_connections')).toBeGreaterThan(0);
      for (const client of held) client.destroy();
      await until(() => watched.rooms.door.connectionCount === 2, 'room again');
      expect(statuses(await watched.send(getRequest('/ok', { Connection: 'close' })))).toEqual([200]);
    });

    it('lets go of one who was refused and never closes its side', async () => {
      const cases = [
        getRequest('/v1/sse?filter=a//b'),
        getRequest('/v1/sse?filter=a', { Origin: 'https://evil.example' }),
        upgradeRequest({ 'Sec-WebSocket-Version': '8' }),
        upgradeRequest({ Origin: 'null' }),
        '\x00\x01\r\n\r\n',
      ];
      for (const bytes of cases) {
        const client = await watched.raw();
        client.send(bytes);
        await client.over();
        // what it sends now meets no socket: the server has closed both sides
        await until(
          () => {
            if (!client.closed) client.send('x');
            return client.closed;
          },
          `the server to let go after ${bytes.slice(0, 40)}`,
        );
      }
    });
  });
});
