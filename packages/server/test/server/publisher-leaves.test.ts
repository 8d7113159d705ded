import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Log, openDiskLog } from '../../src/log/index.ts';
import { type ApiServer, contents, startApi } from '../api/api-server.ts';
import { Rooms, until } from '../gateway/harness.ts';
import { RawClient } from '../gateway/raw-client.ts';
import { WsClient } from '../gateway/ws-client.ts';
import { SimulatedDisk } from '../log/disk/simulated-disk.ts';
import { SeededRandom } from '../log/seeded-random.ts';

/** Who leaves publishes this, and who stays that: the commits of both are held meanwhile. */
const left = '{"topic":"left","data":1}';
const stayed = '{"topic":"stayed","data":2}';

let machine: SimulatedDisk;
let log: Log;
beforeEach(async () => {
  machine = new SimulatedDisk(new SeededRandom(1));
  log = await openDiskLog({ directory: '/simulated', disk: machine.boot(), segmentBytes: 65536 });
  machine.stall = operation => operation === 'sync';
});

const posted = (target: string, body: string, headers = 'Content-Type: application/json\r\n'): string =>
  `POST ${target} HTTP/1.1\r\nHost: localhost\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

/** The log holds what both published, each message once. */
async function expectBoth(lefts: number): Promise<void> {
  await until(() => log.head.offset === lefts + 1, 'the commit of all');
  const topics = (await contents(log)).map(({ topic }) => topic);
  expect(topics.filter(topic => topic === 'left')).toHaveLength(lefts);
  expect(topics.filter(topic => topic === 'stayed')).toHaveLength(1);
  expect(topics).toHaveLength(lefts + 1);
}

describe('a publisher that leaves between append and ack', () => {
  describe('over HTTP', () => {
    let server: ApiServer;
    beforeEach(async () => {
      server = await startApi({ log, hub: { publishDeadline: 600_000 } });
    });
    afterEach(async () => {
      machine.resume();
      await server[Symbol.asyncDispose]();
      expect(server.faults).toEqual([]);
    });

    it.each<[string, string, number]>([
      ['a raw body', posted('/v1/topics/left', '1'), 1],
      ['one JSON message', posted('/v1/publish', left), 1],
      ['an array', posted('/v1/publish', `[${left},${left}]`), 2],
      [
        'lines, in the middle of one',
        `POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n${chunk(`${left}\n${left}\n${left.slice(0, 20)}`)}`,
        2,
      ],
    ])('with %s changes nothing for others, and its messages are in the log once', async (_, request, count) => {
      const leaving = (await RawClient.open(server.port)).send(request);
      await until(() => server.hub.publisher.inFlight === count, 'the append');
      const staying = (await RawClient.open(server.port)).send(posted('/v1/publish', stayed));
      await until(() => server.hub.publisher.inFlight === count + 1, 'the append of the other');
      leaving.socket.resetAndDestroy();
      await until(() => server.connections === 1, 'the server to see that it left');
      expect([server.hub.publisher.inFlight, log.head.offset]).toEqual([count + 1, 0]);
      machine.resume();
      expect(await staying.has('"duplicate":false')).toContain('HTTP/1.1 200 OK');
      await expectBoth(count);
      expect(server.hub.publisher.inFlight).toBe(0);
      staying.destroy();
    });
  });

  describe('at the door', () => {
    let rooms: Rooms;
    let subscriber: WsClient;
    beforeEach(async () => {
      rooms = await Rooms.open({ log, hub: { publishDeadline: 600_000 } });
      subscriber = await WsClient.open(rooms.port);
      subscriber.send({ type: 'subscribe', ref: 1, subscriptions: [{ filter: '#', sub: 'all' }] });
      await subscriber.first('live');
    });
    afterEach(async () => {
      machine.resume();
      subscriber.close();
      await rooms.close();
      expect(rooms.faults).toEqual([]);
    });

    async function leave(count: number, go: () => void): Promise<void> {
      await until(() => rooms.hub.publisher.inFlight === count, 'the append');
      subscriber.send({ type: 'publish', ref: 'stayed', messages: [JSON.parse(stayed)] });
      await until(() => rooms.hub.publisher.inFlight === count + 1, 'the append of the other');
      go();
      await until(() => rooms.door.connectionCount === 1, 'the server to see that it left');
      expect([rooms.hub.publisher.inFlight, log.head.offset]).toEqual([count + 1, 0]);
      machine.resume();
      expect((await subscriber.answer('stayed')).results).toMatchObject([{ offset: count + 1, duplicate: false }]);
      await expectBoth(count);
      expect(await subscriber.received(count + 1)).toEqual(Array.from({ length: count + 1 }, (_, i) => i + 1));
      expect(rooms.hub.publisher.inFlight).toBe(0);
    }

    it('on a bare socket changes nothing for others, and its messages are in the log once', async () => {
      const client = (await RawClient.open(rooms.port)).send(
        posted('/v1/topics/left', '1') + posted('/v1/topics/left', '2'),
      );
      await leave(2, () => client.socket.resetAndDestroy());
    });

    it('on a WebSocket changes nothing for others, and its messages are in the log once', async () => {
      const client = await WsClient.open(rooms.port);
      client.send({ type: 'publish', ref: 1, messages: [JSON.parse(left), JSON.parse(left)] });
      await leave(2, () => client.close());
    });
  });
});
