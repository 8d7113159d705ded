import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Publisher } from '../../load/publisher.ts';
import { Subscribers } from '../../load/subscribers.ts';
import { until } from '../../wait.ts';

const within = 20_000;
const MiB = 1024 ** 2;

let server: Server;
const sockets = new Set<Socket>();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  server.close();
});

async function listen(of: Server): Promise<number> {
  server = of;
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => socket.destroy())));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

describe('streams that stall', () => {
  it('read their response head and nothing after it, whatever comes', async () => {
    const head = 'HTTP/1.1 200 OK\r\n\r\n';
    const port = await listen(createServer(socket => void socket.once('data', () => socket.write(head))));
    const subscription = { transport: 'sse', request: 'GET / HTTP/1.1\r\n\r\n' } as const;
    const stalled = new Subscribers();
    const reading = new Subscribers();
    await stalled.open(port, [subscription], 3);
    stalled.stall();
    await reading.open(port, [subscription], 1);
    // more than the kernel takes for one that does not read
    const bytes = Buffer.alloc(64 * MiB, '.');
    for (const socket of sockets) socket.write(bytes);
    await until(() => reading.bytes() === head.length + bytes.length, within);
    expect(reading.bytes()).toBe(head.length + bytes.length);
    expect(stalled.bytes()).toBe(3 * head.length);
    expect([...sockets].filter(({ writableLength }) => writableLength > 0)).toHaveLength(3);
    expect(stalled.lost).toBe(0);
    stalled.close();
    reading.close();
  });
});

describe('paced publishing', () => {
  it('uses all its connections in turn, so that none looks abandoned to the server', async () => {
    const used = new Map<Socket, number>();
    const web = createHttpServer((request, response) => {
      used.set(request.socket, (used.get(request.socket) ?? 0) + 1);
      request.resume().on('end', () => response.end('{}'));
    });
    const port = await listen(web);
    const publisher = await Publisher.open({ port, path: '/' }, { connections: 8, depth: 1 });
    await publisher.runPaced(100, 160);
    await publisher.stop();
    expect([...used.values()]).toEqual(Array.from({ length: 8 }, () => 2));
    publisher.close();
  });
});

describe('publishing in flight until delivered', () => {
  it('sends no more than its connections hold beyond what is delivered, however fast the acks', async () => {
    let received = 0;
    const web = createHttpServer((request, response) => {
      request.resume().on('end', () => {
        received++;
        response.end('{}');
      });
    });
    const port = await listen(web);
    const publisher = await Publisher.open({ port, path: '/' }, { connections: 8, depth: 1 });
    let delivered = 0;
    publisher.delivered = () => delivered;
    publisher.start(1);
    for (; delivered < 100; delivered += 5) {
      await until(() => received >= delivered + 8 && publisher.acked === received, within);
      expect(received).toBe(delivered + 8);
    }
    await publisher.stop();
    publisher.close();
  });
});
