import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { SocketOutlet } from '../../src/gateway/socket-outlet.ts';
import { until } from './harness.ts';
import { RawClient } from './raw-client.ts';

const size = 16 * 1024 * 1024;

it('an outlet knows how much of one large buffer is left', async () => {
  let socket: Socket | undefined;
  const server = createServer({ noDelay: true }, accepted => (socket = accepted)).listen(0, '127.0.0.1');
  await until(() => server.listening, 'listening');
  const client = await RawClient.open((server.address() as AddressInfo).port, { reads: false });
  await until(() => socket !== undefined, 'accepted');
  const outlet = new SocketOutlet(socket!);
  expect(outlet.left).toBe(0);
  outlet.write(Buffer.alloc(size));
  const { left } = outlet;
  client.socket.resume();
  await until(() => outlet.left < left && outlet.unfinished === size, 'less of the same buffer');
  await until(() => outlet.left === 0, 'nothing left');
  client.socket.end();
  outlet.end();
  await until(() => socket!.destroyed, 'closed');
  expect(outlet.left).toBe(0);
  server.close();
});

it('an outlet tells when all that was written is taken, and ends only after it', async () => {
  let socket: Socket | undefined;
  const server = createServer({ noDelay: true }, accepted => (socket = accepted)).listen(0, '127.0.0.1');
  await until(() => server.listening, 'listening');
  const client = await RawClient.open((server.address() as AddressInfo).port, { reads: false });
  await until(() => socket !== undefined, 'accepted');
  const outlet = new SocketOutlet(socket!);
  let finished = 0;
  const waiter = { finished: () => finished++ };

  outlet.write(Buffer.from('small'));
  expect(outlet.unfinished).toBe(0);
  outlet.write(Buffer.alloc(size));
  expect(outlet.unfinished).toBeGreaterThan(0);
  outlet.whenFinished(waiter);
  await new Promise(resolve => setImmediate(resolve));
  expect(finished).toBe(0);
  client.socket.resume();
  await until(() => finished === 1, 'finished');
  expect(outlet.unfinished).toBe(0);

  client.socket.pause();
  outlet.write(Buffer.alloc(size));
  outlet.end(Buffer.from('last'));
  outlet.write(Buffer.from('too late'));
  outlet.whenFinished(waiter); // must not cut what the end still waits for
  client.socket.resume();
  await client.over();
  expect(client.bytes.length).toBe(5 + size + size + 4);
  expect(finished).toBe(1);
  client.destroy();
  server.close();
});
