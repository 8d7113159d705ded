import { Client, type ClientOptions } from './client.ts';
import { poll } from './transports/poll.ts';
import { sse } from './transports/sse.ts';
import { webSocket } from './transports/web-socket.ts';

/**
 * A client of the server at `url`, such as `https://push.example.com`, or of the fastest of several. It connects when
 * something is asked of it.
 */
export function connect(url: string | readonly string[], options: Partial<ClientOptions> = {}): Client {
  return new Client(url, { transports: [webSocket, sse, poll], ...options });
}
