// One of several nodes of `socket.io` with its Redis Streams adapter: publishing by HTTP POST on the same port, one room.
// It answers when the adapter's XADD has been answered; `io.to(…).emit` alone would not tell when, nor whether.
import { createServer, type Server as HttpServer } from 'node:http';
import { Redis } from 'ioredis';
import { requirePeer } from '../peers.ts';

/** The parts of it that are needed. */
interface SocketIo {
  Server: new (
    server: HttpServer,
    options: Readonly<Record<string, unknown>>,
  ) => {
    on(event: 'connection', listener: (socket: { join(room: string): void }) => void): void;
    to(room: string): { emit(event: string, data: unknown): void };
    of(namespace: string): { adapter: { doPublish(message: unknown): Promise<string> } };
  };
}
interface StreamsAdapter {
  createAdapter(redis: Redis, options: Readonly<Record<string, unknown>>): unknown;
}

const peers = new URL('./peers/', import.meta.url);
const { Server } = requirePeer(peers, 'socket.io') as SocketIo;
const { createAdapter } = requirePeer(peers, '@socket.io/redis-streams-adapter') as StreamsAdapter;

const room = 'bench/room';
const [port, url] = process.argv.slice(2);

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', async () => {
    io.to(room).emit('message', JSON.parse(Buffer.concat(chunks).toString()));
    await added;
    response.end('{}');
  });
});

const io = new Server(server, {
  transports: ['websocket'],
  // the load answers no pings of Engine.IO
  pingInterval: 3_600_000,
  // the adapter reads the answers of RESP2; the stream is long enough that nobody who is behind loses messages
  adapter: createAdapter(new Redis(url!, { protocol: 2 }), { maxLen: 1_000_000 }),
});
io.on('connection', socket => socket.join(room));

// `emit` asks the adapter at once, and keeps its answer to itself
let added: Promise<string> | undefined;
const { adapter } = io.of('/');
const publish = adapter.doPublish.bind(adapter);
adapter.doPublish = message => {
  added = publish(message);
  return added;
};

server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 });
