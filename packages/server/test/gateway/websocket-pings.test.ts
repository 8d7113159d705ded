import { afterEach, beforeEach, expect, it } from 'vitest';
import type { WebSocketConnection } from '../../src/gateway/websocket/connection.ts';
import { Rooms, until } from './harness.ts';
import { RawClient, upgradeRequest } from './raw-client.ts';
import { clientFrame } from './websocket/client-frames.ts';

let rooms: Rooms;
let client: RawClient;
beforeEach(async () => {
  rooms = await Rooms.open();
  client = await RawClient.open(rooms.port);
  client.send(upgradeRequest());
  await client.has('101 Switching Protocols');
});
afterEach(async () => {
  client.destroy();
  await until(() => rooms.gateway.connections.size === 0, 'gone');
  expect(rooms.faults).toEqual([]);
  await rooms.close();
});

const ping = (payload: string): Buffer => clientFrame({ opcode: 9, payload });
const flood = Buffer.concat(Array.from({ length: 500 }, (_, i) => ping(`${i}`.padEnd(125, '.'))));

/** Payloads of the pongs among the server's frames. */
function pongs(): string[] {
  const found: string[] = [];
  const { bytes } = client;
  for (let at = bytes.indexOf('\r\n\r\n') + 4; at + 2 <= bytes.length; ) {
    let length = bytes[at + 1]!;
    let start = at + 2;
    if (length === 126) {
      length = bytes.readUInt16BE(start);
      start += 2;
    } else if (length === 127) {
      length = Number(bytes.readBigUInt64BE(start));
      start += 8;
    }
    if (start + length > bytes.length) break;
    if (bytes[at] === 0x8a) found.push(bytes.toString('latin1', start, start + length));
    at = start + length;
  }
  return found;
}

/** More is published than all kernel buffers take. */
async function subscribeAndStall(): Promise<WebSocketConnection> {
  const [connection] = rooms.gateway.connections as Set<WebSocketConnection>;
  client.send(clientFrame({ opcode: 1, payload: '{"type":"subscribe","subscriptions":[{"filter":"a"}]}' }));
  await client.has('"live"');
  client.socket.pause();
  for (let i = 0; i < 500; i++) await rooms.publish('a', `"${'x'.repeat(50_000)}"`);
  await until(() => connection!.session.lagging, 'lagging');
  return connection!;
}

it('answers each ping that comes alone', async () => {
  for (let i = 0; i < 10; i++) {
    client.send(ping(`ping ${i}`));
    await until(() => pongs().length === i + 1, 'its pong');
  }
  expect(pongs()).toEqual(Array.from({ length: 10 }, (_, i) => `ping ${i}`));
});

it('answers the newest of those that come together', async () => {
  client.send(Buffer.concat([ping('1'), ping('2'), ping('3')]));
  await until(() => pongs().includes('3'), 'the pong');
  expect(pongs()).toEqual(['3']);
});

it('answers a ping between the fragments of a message, and one that comes in pieces', async () => {
  const message = '{"type":"ping","ref":"whole"}';
  client.send(clientFrame({ opcode: 1, payload: message.slice(0, 9), fin: false }));
  await client.sendSlowly(ping('in between').toString('latin1'));
  await until(() => pongs().includes('in between'), 'the pong');
  client.send(clientFrame({ opcode: 0, payload: message.slice(9) }));
  await client.has('"ref":"whole"');
});

it('keeps one pong for a peer that floods pings and never reads, and reads no more of it', async () => {
  const connection = await subscribeAndStall();
  const { outlet } = connection.session;
  const oneBlock = 200_000;
  let sent = 0;
  while (client.socket.writableLength < 4 * 1024 * 1024) {
    client.send(flood);
    sent += 500;
    expect(outlet.unfinished).toBeLessThan(oneBlock);
    await new Promise(resolve => setImmediate(resolve));
  }
  // what it sends stays in the kernels, and then with itself
  expect(sent).toBeGreaterThan(30_000);
  client.send(ping('the last'));
  client.socket.resume();
  await until(() => pongs().includes('the last'), 'the pong of the newest', 20_000);
  expect(pongs().length).toBeLessThan(sent / 20);
});

it('does not lose the ping of a peer that is slow', async () => {
  await subscribeAndStall();
  client.send(ping('slow'));
  const [connection] = rooms.gateway.connections as Set<WebSocketConnection>;
  await rooms.publish('a', '"after"');
  expect(connection!.session.lagging).toBe(true);
  client.socket.resume();
  await until(() => pongs().includes('slow'), 'the pong', 20_000);
  await client.has('"after"', 20_000);
});

it('says nothing behind a close', async () => {
  client.send(Buffer.concat([ping('too late'), clientFrame({ opcode: 8 })]));
  await client.over();
  expect(pongs()).toEqual([]);
});
