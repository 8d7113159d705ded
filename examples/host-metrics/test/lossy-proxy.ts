import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * Stands between the example and the server and passes everything on, but loses every `loseEvery`-th answer to a
 * publish: the connection breaks after the server has stored the messages, before the publisher knows.
 */
export class LossyProxy implements AsyncDisposable {
  lost = 0;
  /** Connections that found no server. */
  refused = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #answers = 0;

  private constructor(target: number, loseEvery: number) {
    this.#server = createServer(client => {
      const server = connect(target, '127.0.0.1');
      let publishing = false;
      client.on('data', chunk => {
        publishing ||= String(chunk.slice(0, 16)) === 'POST /v1/publish';
      });
      server.on('data', chunk => {
        if (publishing && ++this.#answers % loseEvery === 0) {
          this.lost++;
          client.destroy();
        } else client.write(chunk);
      });
      client.pipe(server);
      server.on('error', ({ code }: NodeJS.ErrnoException) => {
        if (code === 'ECONNREFUSED') this.refused++;
      });
      server.on('end', () => client.end());
      for (const [socket, other] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(socket);
        socket.on('error', () => {}); // `close` follows
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
    });
  }

  static async open(target: number, loseEvery: number): Promise<LossyProxy> {
    const proxy = new LossyProxy(target, loseEvery);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
