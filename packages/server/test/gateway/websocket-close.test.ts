import { describe, expect, it } from 'vitest';
import { Bystander } from './bystander.ts';
import { until } from './harness.ts';
import { watchedRooms } from './watched-rooms.ts';
import { clientFrame, textFrame } from './websocket/client-frames.ts';

describe('a WebSocket session', () => {
  const watched = watchedRooms();

  it('closes what breaks the protocol, with the code that says how', async () => {
    const cases: [Buffer, number][] = [
      [clientFrame({ opcode: 1, payload: '{}', mask: null }), 1002],
      [clientFrame({ opcode: 3 }), 1002],
      [clientFrame({ opcode: 1, rsv: 4, payload: '{}' }), 1002],
      [clientFrame({ opcode: 9, payload: 'x', fin: false }), 1002],
      [clientFrame({ opcode: 1, payload: Buffer.from([0xff]) }), 1007],
      [clientFrame({ opcode: 8, payload: Buffer.from([0x03, 0xed]) }), 1002],
    ];
    for (const [bytes, code] of cases) {
      const client = await watched.upgraded();
      const skip = client.bytes.length;
      client.send(bytes);
      await client.over();
      const close = client.bytes.subarray(client.bytes.indexOf(0x88, skip));
      expect(close.readUInt16BE(2)).toBe(code);
    }
  });

  it('answers a close with a close, and is gone', async () => {
    const before = watched.rooms.gateway.connections.size;
    for (const code of [1000, 1001, 3000, 4999]) {
      const client = await watched.webSocket();
      await client.subscribe('a');
      client.socket.close(code, 'bye');
      await client.closed();
    }
    await until(() => watched.rooms.gateway.connections.size === before, 'gone');
  });

  it('cuts one who closes but never ends, and one who never answers our close', async () => {
    const before = watched.rooms.gateway.connections.size;
    const closing = await watched.upgraded();
    closing.send(clientFrame({ opcode: 8, payload: Buffer.from([0x03, 0xe8]) }));
    const refused = await watched.upgraded();
    refused.send(textFrame({}));
    await until(() => watched.rooms.gateway.connections.size === before, 'gone', 15_000);
  });

  it('closes when no frame comes within connect.timeout', async () => {
    await watched.begin({ gateway: { connectTimeout: 400 } });
    const client = await watched.webSocket();
    const busy = await watched.upgraded();
    busy.send(clientFrame({ opcode: 9, payload: 'x' })); // a ping is no frame of the protocol
    expect(await client.closed()).toBe(4408);
    expect(client.closeReason).toBe('connect_timeout');
    await busy.over();
  });

  it('sends heartbeats and pings that a script and a stack can see', async () => {
    await watched.begin({ gateway: { heartbeat: { sse: 300, websocket: 300 } } });
    const client = await watched.webSocket();
    await client.ask({ type: 'connect', ref: 1 });
    await until(() => client.pings >= 2 && client.of('heartbeat').length >= 2, 'two heartbeats');
    expect(client.of('heartbeat')[0]).toEqual({ type: 'heartbeat', time: expect.any(Number) });
  });

  it('cuts a peer that answers no ping three times over, not one that does', async () => {
    await watched.begin({ gateway: { heartbeat: { sse: 200, websocket: 200 }, connectTimeout: 2000 } });
    const before = watched.rooms.gateway.connections.size;
    const dead = await watched.webSocket({ autoPong: false });
    const alive = await watched.webSocket();
    const talking = await watched.webSocket({ autoPong: false });
    for (const client of [dead, alive, talking]) await client.ask({ type: 'connect', ref: 1 });
    let ref = 0;
    await until(() => {
      if (++ref % 5 === 0) talking.send({ type: 'ping', ref });
      return dead.closeCode !== undefined;
    }, 'the silent one cut');
    expect(dead.pings).toBeGreaterThanOrEqual(3);
    expect(watched.rooms.gateway.cut.get('silent')).toBe(1);
    expect([alive.closeCode, talking.closeCode]).toEqual([undefined, undefined]);
    expect(watched.rooms.gateway.connections.size).toBe(before + 2);
  });

  it('drains with a notice and 1001', async () => {
    const client = await watched.webSocket();
    await client.subscribe('a');
    await watched.bystander.check();
    watched.rooms.gateway.drain();
    expect(await client.closed()).toBe(1001);
    expect(client.of('drain')).toEqual([{ type: 'drain', within: expect.any(Number) }]);
    watched.rooms.gateway.draining = false;
    watched.bystander.close();
    watched.bystander = await Bystander.open(watched.rooms);
  });
});
