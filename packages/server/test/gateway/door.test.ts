import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bystander } from './bystander.ts';
import { type RoomOptions, Rooms, until } from './harness.ts';
import { getRequest, RawClient, upgradeRequest } from './raw-client.ts';
import { SseClient } from './sse-client.ts';
import { WsClient } from './ws-client.ts';

const post = (topic: string, body: string, headers = ''): string =>
  `POST /v1/topics/${topic} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;

/** Sessions of the bystander: an event stream and a WebSocket. */
const bystanding = 2;

describe('the door', () => {
  let rooms: Rooms;
  let bystander: Bystander;
  const raws: RawClient[] = [];

  async function begin(options: RoomOptions = {}): Promise<void> {
    if (rooms !== undefined) await rooms.close();
    rooms = await Rooms.open(options);
    bystander = await Bystander.open(rooms);
  }

  async function raw(options: { readonly host?: string } = {}): Promise<RawClient> {
    const client = await RawClient.open(rooms.port, options);
    raws.push(client);
    return client;
  }

  /** Sends these bytes on a connection of their own and returns all that comes back until the server ends it. */
  async function send(bytes: string, ms?: number): Promise<string> {
    const client = await raw();
    client.send(bytes);
    await bystander.publish();
    return client.over(ms);
  }

  const statuses = (text: string): number[] =>
    [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1]));

  beforeEach(() => begin());
  afterEach(async () => {
    await bystander.check();
    for (const client of raws.splice(0)) client.destroy();
    bystander.close();
    await until(() => rooms.gateway.connections.size === 0, 'no connection left');
    await until(
      () => rooms.door.sockets.size === 0,
      () => `no socket left, there are ${rooms.door.sockets.size}`,
    );
    expect(rooms.door.inFlight).toBe(0);
    expect(rooms.hub.sessions.size).toBe(0);
    await rooms.close();
  });

  describe('splits and joins', () => {
    it('reads a streaming GET that comes byte by byte', async () => {
      const client = await raw();
      await client.sendSlowly(getRequest('/v1/sse?filter=a', { Accept: 'text/event-stream' }));
      await client.has('"type":"live"');
      await rooms.publish('a', '"here"');
      await client.has('"here"');
    });

    it('reads a WebSocket upgrade that comes byte by byte, and a first frame in the same packet', async () => {
      const client = await raw();
      await client.sendSlowly(upgradeRequest());
      await client.has('101 Switching Protocols');
      const other = await raw();
      const payload = Buffer.from('{"type":"ping","ref":"p"}');
      const frame = Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
      other.send(Buffer.concat([Buffer.from(upgradeRequest()), frame]));
      await other.has('"type":"pong","ref":"p"');
    });

    it('reads a publish that comes byte by byte', async () => {
      const client = await raw();
      await client.sendSlowly(post('a', '"x"'));
      await client.has('"offset":');
    });

    it('leaves what is neither to node:http, byte by byte too', async () => {
      const client = await raw();
      await client.sendSlowly(getRequest('/ok', { Connection: 'close' }));
      expect(statuses(await client.over())).toEqual([200]);
    });

    it('answers pipelined requests in order', async () => {
      const client = await raw();
      client.send(
        getRequest('/ok') +
          post('a', '1') +
          getRequest('/nothing') +
          post('a', '2') +
          getRequest('/ok', { Connection: 'close' }),
      );
      expect(statuses(await client.over())).toEqual([200, 200, 404, 200, 200]);
      expect(rooms.log.hot.newestOf('a')?.data.toString()).toBe(Buffer.from('2').toString());
    });

    it('answers many pipelined publishes in order, good and bad', async () => {
      const client = await raw();
      const before = rooms.log.head.offset;
      client.send(
        post('a', '1') +
          post('a', 'not json') +
          post('a//b', '1') +
          post('a', '2') +
          getRequest('/ok', { Connection: 'close' }),
      );
      expect(statuses(await client.over())).toEqual([200, 400, 400, 200, 200]);
      expect(rooms.log.head.offset).toBe(before + 2);
    });

    it('streams on a kept-alive connection, after a normal request and pipelined behind one', async () => {
      const client = await raw();
      client.send(getRequest('/ok'));
      await client.has('/ok');
      client.send(getRequest('/v1/sse?filter=a'));
      await client.has('"type":"live"');
      const pipelined = await raw();
      pipelined.send(getRequest('/ok') + getRequest('/v1/sse?filter=a'));
      await pipelined.has('"type":"live"');
      const behindPublish = await raw();
      behindPublish.send(post('b', '1') + getRequest('/v1/sse?filter=a'));
      await behindPublish.has('"type":"live"');
      await rooms.publish('a', '"here"');
      for (const each of [client, pipelined, behindPublish]) {
        const text = await each.has('"here"');
        expect(statuses(text)).toEqual([200, 200]);
        expect(text).not.toMatch(/transfer-encoding/i);
      }
    });

    it('streams behind a request that takes its time', async () => {
      const client = await raw();
      client.send(getRequest('/held') + getRequest('/v1/sse?filter=a'));
      await until(() => rooms.held.length === 1, 'the held request');
      rooms.held[0]!.end('late');
      const text = await client.has('"type":"live"');
      expect(text.indexOf('late')).toBeLessThan(text.indexOf('text/event-stream'));
      await rooms.publish('a', '"here"');
      await client.has('"here"');
    });

    it('forgets requests whose connection breaks before their turn', async () => {
      const client = await raw();
      client.send(getRequest('/held') + getRequest('/v1/sse?filter=a') + getRequest('/held') + getRequest('/ok'));
      await until(() => rooms.held.length >= 1, 'the held request');
      client.socket.resetAndDestroy(); // a FIN alone might mean that it waits for the answer
      await until(() => rooms.door.inFlight === 0, 'nothing in flight');
    });

    it('upgrades a kept-alive connection to a WebSocket', async () => {
      const client = await raw();
      client.send(getRequest('/ok'));
      await client.has('/ok');
      client.send(upgradeRequest());
      await client.has('101 Switching Protocols');
    });
  });

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
      await bystander.publish();
      const before = rooms.log.head.offset;
      const client = await raw();
      client.send(bytes);
      const text = await client.over();
      expect(statuses(text), text).toEqual([400]);
      expect(text).toMatch(/\r\nContent-Type: application\/problem\+json\r\n/);
      expect(text).toMatch(/\r\nConnection: close\r\n/);
      const body = text.slice(text.indexOf('\r\n\r\n') + 4);
      expect(body.length).toBe(Number(/\r\nContent-Length: (\d+)\r\n/.exec(text)![1]));
      expect(JSON.parse(body)).toMatchObject({ code: 'bad_request', status: 400, retry: 'never' });
      expect(rooms.log.head.offset).toBe(before);
      expect(rooms.hub.sessions.size).toBe(bystanding);
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
        await send(outer);
        expect(rooms.log.hot.newestOf('evil'), outer).toBeUndefined();
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
      await begin({ headerTimeout: 600_000 });
      for (const before of ['', post('a', '1')]) {
        const client = await raw();
        client.send(before + bytes);
        expect(statuses(await client.over())).toEqual(before === '' ? [400] : [200, 400]);
      }
      expect(rooms.log.hot.newestOf('evil')).toBeUndefined();
    });

    it('behind a valid publish does not stand before its answer', async () => {
      const text = await send(`${post('a', '1')}\x00\x01rubbish\r\n\r\n`);
      expect(statuses(text)).toEqual([200, 400]);
    });

    it('behind a request that takes its time is never taken for its answer', async () => {
      const client = await raw();
      client.send(`${getRequest('/held')}\x00rubbish\r\n\r\n`);
      await until(() => rooms.held.length === 1, 'the held request');
      await bystander.check();
      expect(client.text).toBe('');
      rooms.held[0]!.end('late');
      expect(statuses(await client.over())).toEqual([200, 400]);
      expect(client.text.indexOf('late')).toBeLessThan(client.text.indexOf('400'));
    });

    it('behind a stream ends that stream at most', async () => {
      const client = await raw();
      client.send(getRequest('/v1/sse?filter=a'));
      await client.has('"type":"live"');
      client.send('\x00\x01rubbish\r\n\r\n'.repeat(1000));
      await rooms.publish('a', '"here"');
      expect(statuses(await client.has('"here"'))).toEqual([200]);
      const together = await raw();
      together.send(`${getRequest('/v1/sse?filter=a')}\x00\x01rubbish\r\n\r\n`);
      const text = await together.over();
      expect(statuses(text).filter(status => status !== 200)).toEqual([]);
      expect(statuses(text).length).toBeLessThan(2);
      // the stream before it goes on
      await rooms.publish('a', '"still here"');
      expect(statuses(await client.has('"still here"'))).toEqual([200]);
      expect(client.ended || client.closed).toBe(false);
    });

    it('behind a stream read by node:http never puts a second head into it', async () => {
      const client = await raw();
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
      const sse = await raw();
      sse.send(getRequest('http://127.0.0.1/v1/sse?filter=a', local));
      await sse.has('"type":"live"');
      const ws = await raw();
      ws.send(upgradeRequest(local, 'http://localhost:4080/v1/ws'));
      await ws.has('101 Switching Protocols');
      const publisher = await raw();
      publisher.send(
        post('a', '"here"').replace('/v1/', 'http://127.0.0.1/v1/').replace('127.0.0.1\r\n', 'evil.example\r\n'),
      );
      await publisher.has('"offset":');
      expect(statuses(await sse.has('"here"'))).toEqual([200]);

      const before = rooms.log.head.offset;
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
          post('a', '1').replace('/v1/', `http://${authority}/v1/`),
        ]) {
          const client = await raw();
          client.send(bytes);
          const text = await client.has('"status":');
          expect(statuses(text), bytes).toEqual([status]);
          expect(text).not.toContain('event-stream\r\n');
        }
      expect(rooms.log.head.offset).toBe(before);
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
        const batch = await Promise.all(Array.from({ length: 20 }, () => raw()));
        for (const client of batch) {
          const noise = Buffer.from(Array.from({ length: 1 + random(300) }, () => random(256)));
          client.send(starts[random(starts.length)]!).send(noise);
          if (random(2) === 0) client.end();
          else if (random(3) === 0) client.destroy();
        }
        await bystander.publish();
        for (const client of batch) client.destroy();
      }
    });
  });

  describe('limits', () => {
    it('refuses a head beyond limits.header, whoever would read it', async () => {
      await begin({ headerMax: 2000 });
      const long = 'x'.repeat(3000);
      const cases = [
        getRequest('/ok', { X: long }),
        getRequest('/v1/sse?filter=a', { X: long }),
        getRequest(`/v1/sse?filter=a&_=${long}`),
        upgradeRequest({ X: long }),
        post('a', '1', `X: ${long}\r\n`),
        `GET /v1/sse?filter=a HTTP/1.1\r\n${'a: b\r\n'.repeat(1000)}`,
        `GET /v1/sse?filter=${'a'.repeat(5000)}`,
        `POST /v1/topics/${'a'.repeat(5000)}`,
      ];
      for (const bytes of cases) {
        const text = await send(bytes);
        expect(statuses(text), bytes.slice(0, 60)).toEqual([431]);
        expect(text).toContain('"code":"headers_too_large"');
      }
    });

    it('takes a head of just under the limit on either way', async () => {
      await begin({ headerMax: 2000 });
      const fits = (request: (fill: string) => string): string => request('x'.repeat(1900 - request('').length));
      const sse = await raw();
      sse.send(fits(x => getRequest('/v1/sse?filter=a', { X: x })));
      await sse.has('"type":"live"');
      const other = await raw();
      other.send(fits(x => getRequest('/ok', { X: x })));
      expect(statuses(await other.has('/ok'))).toEqual([200]);
    });

    it('answers 408 to a head that does not arrive in time, and cuts one who says nothing', async () => {
      await begin({ headerTimeout: 400 });
      const silent = await raw();
      const slow = await Promise.all(
        ['GET /v1/sse?fil', 'GET /ok HTTP/1.1\r\nHost: 127.', 'POST /v1/topics/a HTTP/1.1\r\nHost', 'G'].map(
          async bytes => (await raw()).send(bytes),
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
      await begin({ headerTimeout: 500 });
      const client = await raw();
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
      await begin({ connectionsMax: 5, spare: 2 });
      // the bystander holds two
      const held = [];
      for (let i = 0; i < 5; i++) held.push((await raw()).send('GET /ok'));
      await until(() => rooms.door.connectionCount === 7, 'all taken');
      const beyond = await raw();
      expect(await beyond.over()).toBe('');
      expect(rooms.gateway.refused.get('too_many_connections')).toBeGreaterThan(0);
      for (const client of held) client.destroy();
      await until(() => rooms.door.connectionCount === 2, 'room again');
      expect(statuses(await send(getRequest('/ok', { Connection: 'close' })))).toEqual([200]);
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
        const client = await raw();
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

  describe('half-open clients', () => {
    it('get the answer of a request that they sent before they ended their side', async () => {
      for (const bytes of [getRequest('/ok'), post('a', '1'), getRequest('/ok') + post('a', '2')]) {
        const client = await raw();
        client.send(bytes).end();
        const text = await client.over();
        expect(statuses(text).every(status => status === 200) && statuses(text).length > 0, text).toBe(true);
      }
    });

    it('get it also when it takes its time', async () => {
      const client = await raw();
      client.send(getRequest('/held')).end();
      await until(() => rooms.held.length === 1, 'the held request');
      rooms.held[0]!.end('late');
      expect(await client.over()).toContain('late');
    });

    it('are gone in the middle of a head', async () => {
      for (const bytes of ['GET /v1/sse', 'GET /ok HTTP/1.1\r\n', 'POST /v1/topics/a HTTP/1.1\r\nContent-', '']) {
        const client = await raw();
        client.send(bytes).end();
        await client.over();
      }
    });
  });

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
      const sse = await raw();
      sse.send(getRequest('/v1/sse?filter=a', headers));
      const text = await sse.has('"type":"live"');
      const { Origin: origin } = headers;
      if (origin === undefined) expect(text).not.toContain('Access-Control');
      else expect(text).toContain(`Access-Control-Allow-Origin: ${origin}\r\n`);
      expect([...text.matchAll(/\r\nVary: ([^\r]*)/gi)].map(match => match[1])).toEqual(['Origin, Accept']);
      const ws = await raw();
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
        const text = await send(bytes);
        expect(statuses(text), bytes).toEqual([status]);
        expect(text).not.toContain('Access-Control-Allow-Origin');
        expect(text).not.toContain('event-stream\r\n');
      }
    });

    it('refuses an EventSource from elsewhere with its true status: it must not come back', async () => {
      const text = await send(
        getRequest('/v1/sse?filter=a', { Origin: 'https://evil.example', Accept: 'text/event-stream' }),
      );
      expect(statuses(text)).toEqual([403]);
    });

    it('serves origins and hosts that are set', async () => {
      await begin({ origins: { origins: ['https://app.example'], hosts: ['push.example'] } });
      const sse = await raw();
      sse.send(getRequest('/v1/sse?filter=a', { Host: 'push.example', Origin: 'https://app.example' }));
      await sse.has('Access-Control-Allow-Origin: https://app.example\r\n');
      expect(statuses(await send(getRequest('/v1/sse?filter=a', { Origin: 'http://localhost:5173' })))).toEqual([403]);
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
      const client = await raw();
      client.send(upgradeRequest({ Connection: 'Upgrade, close', ...headers }));
      expect(statuses(await client.has('HTTP/1.1'))[0]).toBe(status);
    });

    it('refuses when the server is full or drains', async () => {
      await begin({ connectionsMax: 2 });
      expect((await WsClient.open(rooms.port)).status).toBe(503);
      bystander.close();
      await until(() => rooms.gateway.connections.size === 0, 'nobody left');
      rooms.gateway.draining = true;
      expect((await WsClient.open(rooms.port)).status).toBe(503);
      rooms.gateway.draining = false;
      bystander = await Bystander.open(rooms);
    });
  });

  it('takes 500 connections at once beside a busy fan-out', async () => {
    const clients = await Promise.all(Array.from({ length: 500 }, () => SseClient.open(rooms.port, 'filter=storm')));
    await bystander.publish();
    const offset = await rooms.publish('storm');
    for (const client of clients) {
      await client.count(1);
      expect(client.offsets).toEqual([offset]);
      client.close();
    }
  });

  it('stops listening while streams go on, and is done when they are', async () => {
    await bystander.publish();
    const stopped = rooms.door.stopListening();
    await bystander.publish();
    const late = await raw();
    await until(() => late.closed, 'refused');
    expect(late.error?.code).toBe('ECONNREFUSED');
    await bystander.check();
    bystander.close();
    await stopped;
    await rooms.close();
    await begin();
  });
});
