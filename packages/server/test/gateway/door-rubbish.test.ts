import { describe, expect, it } from 'vitest';
import { Bystander } from './bystander.ts';
import { until } from './harness.ts';
import { getRequest, publishRequest, statuses, upgradeRequest } from './raw-client.ts';
import { watchedRooms } from './watched-rooms.ts';
import { WsClient } from './ws-client.ts';

/** Sessions of the bystander: an event stream and a WebSocket. */
const bystanding = 2;

describe('the door', () => {
  const watched = watchedRooms();

  describe('rubbish', () => {
    const refused: [string, string][] = [
      ['binary', '\x00\x01\x02\x03\xff\xfe\r\n\r\n'],
      ['TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
      ['HTTP/0.9', 'GET /v1/sse?filter=a\r\n\r\n'],
      ['HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['HTTP/3.0', 'GET /ok HTTP/3.0\r\nHost: 127.0.0.1\r\n\r\n'],
      ['lower-case method', 'get /ok HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
      ['no target', 'GET  HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
      ['target with a space', 'GET /v1/sse?filter=a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'],
      [
        'two lengths',
        'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nContent-Length: 40\r\n\r\n"x"',
      ],
      [
        'two equal lengths',
        'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"x"',
      ],
      ['a list of lengths', 'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3, 3\r\n\r\n"x"'],
      ['length with a sign', 'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: +3\r\n\r\n"x"'],
      ['hexadecimal length', 'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0x3\r\n\r\n"x"'],
      [
        'length and chunks',
        'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n"x"\r\n0\r\n\r\n',
      ],
      [
        'length and chunks on a stream',
        'GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      ],
      [
        'odd transfer encoding',
        'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked, xx\r\n\r\n3\r\n"x"\r\n0\r\n\r\n',
      ],
      [
        'broken chunk',
        'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"x"\r\n0\r\n\r\n',
      ],
      ['bare LF after a header', 'GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\nX: y\r\n\r\n'],
      ['folded header', 'GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\r\n b\r\n\r\n'],
      ['space before the colon', 'GET /v1/sse?filter=a HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n'],
      ['space in a length name', 'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length : 3\r\n\r\n"x"'],
      ['NUL in a header', 'GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\x00b\r\n\r\n'],
      ['CR in a header', 'GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\r\nX: a\rb\r\n\r\n'],
      ['header without a name', 'GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\r\n: b\r\n\r\n'],
      ['no Host', 'GET /v1/sse?filter=a HTTP/1.1\r\n\r\n'],
      [
        'two Hosts',
        'GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
      ],
    ];

    it.each(refused)('is refused with one answer that says why, and nothing is done: %s', async (_, bytes) => {
      await watched.bystander.publish();
      const before = watched.rooms.log.head.offset;
      const client = await watched.raw();
      client.send(bytes);
      const text = await client.over();
      expect(statuses(text), text).toEqual([400]);
      expect(text).toMatch(/\r\nContent-Type: application\/problem\+json\r\n/);
      expect(text).toMatch(/\r\nConnection: close\r\n/);
      const body = text.slice(text.indexOf('\r\n\r\n') + 4);
      expect(body.length).toBe(Number(/\r\nContent-Length: (\d+)\r\n/.exec(text)![1]));
      expect(JSON.parse(body)).toMatchObject({ code: 'bad_request', status: 400, retry: 'never' });
      expect(watched.rooms.log.head.offset).toBe(before);
      expect(watched.rooms.hub.sessions.size).toBe(bystanding);
    });

    it('cannot smuggle a second request into a body', async () => {
      const inner = 'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\n1';
      for (const outer of [
        `POST /v1/topics/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
        `POST /v1/topics/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`,
        `POST /v1/topics/a HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding:\x0bchunked\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`,
        `POST /v1/topics/a HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: identity\r\nContent-Length: 0\r\n\r\n${inner}`,
        `GET /v1/sse?filter=a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${inner.length}\r\nContent-Length: 0\r\n\r\n${inner}`,
      ]) {
        await watched.send(outer);
        expect(watched.rooms.log.hot.newestOf('evil'), outer).toBeUndefined();
      }
    });

    const head =
      'POST /v1/topics/evil HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1';
    it.each([
      ['the last line of a publish', `${head}\r\n\n1`],
      ['both last lines of a publish', `${head}\n\n1`],
      ['a line in the middle of a publish', head.replace('Host: 127.0.0.1\r\n', 'Host: 127.0.0.1\n')],
    ])('is known at once by a bare LF at the end of %s', async (_, bytes) => {
      // longer than the test may take: an answer at the time-out would come too late
      await watched.begin({ headerTimeout: 600_000 });
      for (const before of ['', publishRequest('a', '1')]) {
        const client = await watched.raw();
        client.send(before + bytes);
        expect(statuses(await client.over())).toEqual(before === '' ? [400] : [200, 400]);
      }
      expect(watched.rooms.log.hot.newestOf('evil')).toBeUndefined();
    });

    it('behind a valid publish does not stand before its answer', async () => {
      const text = await watched.send(`${publishRequest('a', '1')}\x00\x01rubbish\r\n\r\n`);
      expect(statuses(text)).toEqual([200, 400]);
    });

    it('behind a request that takes its time is never taken for its answer', async () => {
      const client = await watched.raw();
      client.send(`${getRequest('/held')}\x00rubbish\r\n\r\n`);
      await until(() => watched.rooms.held.length === 1, 'the held request');
      await watched.bystander.check();
      expect(client.text).toBe('');
      watched.rooms.held[0]!.end('late');
      expect(statuses(await client.over())).toEqual([200, 400]);
      expect(client.text.indexOf('late')).toBeLessThan(client.text.indexOf('400'));
    });

    it('behind a stream ends that stream at most', async () => {
      const client = await watched.raw();
      client.send(getRequest('/v1/sse?filter=a'));
      await client.has('"type":"live"');
      client.send('\x00\x01rubbish\r\n\r\n'.repeat(1000));
      await watched.rooms.publish('a', '"here"');
      expect(statuses(await client.has('"here"'))).toEqual([200]);
      const together = await watched.raw();
      together.send(`${getRequest('/v1/sse?filter=a')}\x00\x01rubbish\r\n\r\n`);
      const text = await together.over();
      expect(statuses(text).filter(status => status !== 200)).toEqual([]);
      expect(statuses(text).length).toBeLessThan(2);
      // the stream before it goes on
      await watched.rooms.publish('a', '"still here"');
      expect(statuses(await client.has('"still here"'))).toEqual([200]);
      expect(client.ended || client.closed).toBe(false);
    });

    it('behind a stream read by node:http never puts a second head into it', async () => {
      const client = await watched.raw();
      client.send(getRequest('/ok'));
      await client.has('/ok');
      client.send(getRequest('/v1/sse?filter=a'));
      await client.has('"type":"live"');
      client.send('\x00\x01rubbish\r\n\r\n');
      await client.over();
      expect(statuses(client.text)).toEqual([200, 200]);
    });

    it('in absolute form is no rubbish: its authority decides, whatever Host says', async () => {
      const local = { Host: 'evil.example' };
      const sse = await watched.raw();
      sse.send(getRequest('http://127.0.0.1/v1/sse?filter=a', local));
      await sse.has('"type":"live"');
      const ws = await watched.raw();
      ws.send(upgradeRequest(local, 'http://localhost:4080/v1/ws'));
      await ws.has('101 Switching Protocols');
      const publisher = await watched.raw();
      publisher.send(
        publishRequest('a', '"here"')
          .replace('/v1/', 'http://127.0.0.1/v1/')
          .replace('127.0.0.1\r\n', 'evil.example\r\n'),
      );
      await publisher.has('"offset":');
      expect(statuses(await sse.has('"here"'))).toEqual([200]);

      const before = watched.rooms.log.head.offset;
      for (const [authority, status] of [
        ['evil.example', 421],
        ['evil.example:80', 421],
        ['127.0.0.1@evil.example', 400],
        ['127.0.0.1:80@evil.example:80', 400],
        ['', 400],
      ] as const)
        for (const bytes of [
          getRequest(`http://${authority}/v1/sse?filter=a`),
          upgradeRequest({}, `http://${authority}/v1/ws`),
          publishRequest('a', '1').replace('/v1/', `http://${authority}/v1/`),
        ]) {
          const client = await watched.raw();
          client.send(bytes);
          const text = await client.has('"status":');
          expect(statuses(text), bytes).toEqual([status]);
          expect(text).not.toContain('event-stream\r\n');
        }
      expect(watched.rooms.log.head.offset).toBe(before);
    });

    it('random bytes, a thousand times', async () => {
      let seed = 42;
      const random = (below: number): number => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        return (seed >>> 8) % below;
      };
      const starts = [
        '',
        'GET /v1/sse',
        'GET /v1/sse?filter=a HTTP/1.1\r\n',
        'POST /v1/topics/',
        upgradeRequest(),
        getRequest('/v1/ws'),
      ];
      for (let round = 0; round < 50; round++) {
        const batch = await Promise.all(Array.from({ length: 20 }, () => watched.raw()));
        for (const client of batch) {
          const noise = Buffer.from(Array.from({ length: 1 + random(300) }, () => random(256)));
          client.send(starts[random(starts.length)]!).send(noise);
          if (random(2) === 0) client.end();
          else if (random(3) === 0) client.destroy();
        }
        await watched.bystander.publish();
        for (const client of batch) client.destroy();
      }
    });
  });

  describe('WebSocket handshakes', () => {
    it.each([
      ['no key', { 'Sec-WebSocket-Key': 'short' }, 400],
      ['version 8', { 'Sec-WebSocket-Version': '8' }, 426],
      ['a body', { 'Content-Length': '5' }, 400],
      ['a foreign protocol', { 'Sec-WebSocket-Protocol': 'mqtt' }, 400],
      ['no upgrade', { Upgrade: 'h2c' }, 400],
    ])('refuses %s', async (_, headers, status) => {
      const client = await watched.raw();
      client.send(upgradeRequest({ Connection: 'Upgrade, close', ...headers }));
      expect(statuses(await client.has('HTTP/1.1'))[0]).toBe(status);
    });

    it('refuses when the server is full or drains', async () => {
      await watched.begin({ connectionsMax: 2 });
      expect((await WsClient.open(watched.rooms.port)).status).toBe(503);
      watched.bystander.close();
      await until(() => watched.rooms.gateway.connections.size === 0, 'nobody left');
      watched.rooms.gateway.draining = true;
      expect((await WsClient.open(watched.rooms.port)).status).toBe(503);
      watched.rooms.gateway.draining = false;
      watched.bystander = await Bystander.open(watched.rooms);
    });
  });
});
