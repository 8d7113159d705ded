// A server under load: how it is reached, and what it runs as.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { PublishTarget } from '../load/publisher.ts';
import type { Subscription } from '../load/subscriber.ts';

export interface Target extends AsyncDisposable {
  readonly port: number;
  /** Where one message is published. */
  readonly publish: PublishTarget;
  /** The processes whose CPU time and memory are the server's. */
  pids(): number[];
  collectGarbage(): Promise<void>;
  /** The stream of `filters` over SSE; with a cursor it resumes there. */
  sse(filters: readonly string[], cursor?: string): Subscription;
  ws(filters: readonly string[]): Subscription;
}

/** The one topic of all scenarios. */
export const topic = 'bench/room';

/** Node flag that makes a server collect garbage when asked over IPC. */
export const gcOnRequest: string = `--import=${new URL('gc-on-request.ts', import.meta.url)}`;

/** Accepts problems too, as the SDK does: a refusal then has its true status and does not look like a stream. */
export function sseRequest(port: number, path: string, headers = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream, application/problem+json\r\n${headers}\r\n`;
}

export function wsRequest(port: number, path: string): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
  );
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

/** Whether something accepts connections on `port`. */
export function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
