import { describe, expect, it } from 'vitest';
import { until } from './harness.ts';
import { getRequest, publishRequest, statuses, upgradeRequest } from './raw-client.ts';
import { SseClient } from './sse-client.ts';
import { watchedRooms } from './watched-rooms.ts';

describe('the door', () => {
  const watched = watchedRooms();

  describe('splits and joins', () => {
    it('reads a streaming GET that comes byte by byte', async () => {
      const client = await watched.raw();
      await client.sendSlowly(getRequest('/v1/sse?filter=a', { Accept: 'text/event-stream' }));
      await client.has('"type":"live"');
      await watched.rooms.publish('a', '"here"');
      await client.has('"here"');
    });

    it('reads a WebSocket upgrade that comes byte by byte, and a first frame in the same packet', async () => {
      const client = await watched.raw();
      await client.sendSlowly(upgradeRequest());
      await client.has('101 Switching Protocols');
      const other = await watched.raw();
      const payload = Buffer.from('{"type":"ping","ref":"p"}');
      const frame = Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
      other.send(Buffer.concat([Buffer.from(upgradeRequest()), frame]));
      await other.has('"type":"pong","ref":"p"');
    });

    it('reads a publish that comes byte by byte', async () => {
      const client = await watched.raw();
      await client.sendSlowly(publishRequest('a', '"x"'));
      await client.has('"offset":');
    });

    it('leaves what is neither to node:http, byte by byte too', async () => {
      const client = await watched.raw();
      await client.sendSlowly(getRequest('/ok', { Connection: 'close' }));
      expect(statuses(await client.over())).toEqual([200]);
    });

    it('answers pipelined requests in order', async () => {
      const client = await watched.raw();
      client.send(
        getRequest('/ok') +
          publishRequest('a', '1') +
          getRequest('/nothing') +
          publishRequest('a', '2') +
          getRequest('/ok', { Connection: 'close' }),
      );
      expect(statuses(await client.over())).toEqual([200, 200, 404, 200, 200]);
      expect(watched.rooms.log.hot.newestOf('a')?.data.toString()).toBe(Buffer.from('2').toString());
    });

    it('answers many pipelined publishes in order, good and bad', async () => {
      const client = await watched.raw();
      const before = watched.rooms.log.head.offset;
      client.send(
        publishRequest('a', '1') +
          publishRequest('a', 'not json') +
          publishRequest('a//b', '1') +
          publishRequest('a', '2') +
          getRequest('/ok', { Connection: 'close' }),
      );
      expect(statuses(await client.over())).toEqual([200, 400, 400, 200, 200]);
      expect(watched.rooms.log.head.offset).toBe(before + 2);
    });

    it('streams on a kept-alive connection, after a normal request and pipelined behind one', async () => {
      const client = await watched.raw();
      client.send(getRequest('/ok'));
      await client.has('/ok');
      client.send(getRequest('/v1/sse?filter=a'));
      await client.has('"type":"live"');
      const pipelined = await watched.raw();
      pipelined.send(getRequest('/ok') + getRequest('/v1/sse?filter=a'));
      await pipelined.has('"type":"live"');
      const behindPublish = await watched.raw();
      behindPublish.send(publishRequest('b', '1') + getRequest('/v1/sse?filter=a'));
      await behindPublish.has('"type":"live"');
      await watched.rooms.publish('a', '"here"');
      for (const each of [client, pipelined, behindPublish]) {
        const text = await each.has('"here"');
        expect(statuses(text)).toEqual([200, 200]);
        expect(text).not.toMatch(/transfer-encoding/i);
      }
    });

    it('streams behind a request that takes its time', async () => {
      const client = await watched.raw();
      client.send(getRequest('/held') + getRequest('/v1/sse?filter=a'));
      await until(() => watched.rooms.held.length === 1, 'the held request');
      watched.rooms.held[0]!.end('late');
      const text = await client.has('"type":"live"');
      expect(text.indexOf('late')).toBeLessThan(text.indexOf('text/event-stream'));
      await watched.rooms.publish('a', '"here"');
      await client.has('"here"');
    });

    it('forgets requests whose connection breaks before their turn', async () => {
      const client = await watched.raw();
      client.send(getRequest('/held') + getRequest('/v1/sse?filter=a') + getRequest('/held') + getRequest('/ok'));
      await until(() => watched.rooms.held.length >= 1, 'the held request');
      client.socket.resetAndDestroy(); // a FIN alone might mean that it waits for the answer
      await until(() => watched.rooms.door.inFlight === 0, 'nothing in flight');
    });

    it('upgrades a kept-alive connection to a WebSocket', async () => {
      const client = await watched.raw();
      client.send(getRequest('/ok'));
      await client.has('/ok');
      client.send(upgradeRequest());
      await client.has('101 Switching Protocols');
    });
  });

  describe('half-open clients', () => {
    it('get the answer of a request that they sent before they ended their side', async () => {
      for (const bytes of [getRequest('/ok'), publishRequest('a', '1'), getRequest('/ok') + publishRequest('a', '2')]) {
        const client = await watched.raw();
        client.send(bytes).end();
        const text = await client.over();
        expect(statuses(text).every(status => status === 200) && statuses(text).length > 0, text).toBe(true);
      }
    });

    it('get it also when it takes its time', async () => {
      const client = await watched.raw();
      client.send(getRequest('/held')).end();
      await until(() => watched.rooms.held.length === 1, 'the held request');
      watched.rooms.held[0]!.end('late');
      expect(await client.over()).toContain('late');
    });

    it('are gone in the middle of a head', async () => {
      for (const bytes of ['GET /v1/sse', 'GET /ok HTTP/1.1\r\n', 'POST /v1/topics/a HTTP/1.1\r\nContent-', '']) {
        const client = await watched.raw();
        client.send(bytes).end();
        await client.over();
      }
    });
  });

  it('takes 500 connections at once beside a busy fan-out', async () => {
    const clients = await Promise.all(
      Array.from({ length: 500 }, () => SseClient.open(watched.rooms.port, 'filter=storm')),
    );
    await watched.bystander.publish();
    const offset = await watched.rooms.publish('storm');
    for (const client of clients) {
      await client.count(1);
      expect(client.offsets).toEqual([offset]);
      client.close();
    }
  });

  it('stops listening while streams go on, and is done when they are', async () => {
    await watched.bystander.publish();
    const stopped = watched.rooms.door.stopListening();
    await watched.bystander.publish();
    const late = await watched.raw();
    await until(() => late.closed, 'refused');
    expect(late.error?.code).toBe('ECONNREFUSED');
    await watched.bystander.check();
    watched.bystander.close();
    await stopped;
    await watched.rooms.close();
    await watched.begin();
  });
});
