import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Stands between a client and a server, and does what networks do. */
export class FaultyProxy {
  /** Where new connections lead. */
  target: number;
  /** Nothing passes in either direction; what came waits. */
  #stalled = false;
  /** Answers are swallowed: the server has done what was asked, and the client never learns. */
  swallowAnswers = false;
  readonly #server: Server;
  readonly #pairs = new Set<readonly [Socket, Socket]>();

  private constructor(target: number) {
    this.target = target;
    this.#server = createServer(client => this.#accept(client));
  }

  static async start(target: number): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  stall(): void {
    this.#stalled = true;
    for (const pair of this.#pairs) for (const socket of pair) socket.pause();
  }

  /** The connections there are stall; new ones work. */
  hold(): void {
    this.stall();
    this.#stalled = false;
  }

  resume(): void {
    this.#stalled = false;
    for (const pair of this.#pairs) for (const socket of pair) socket.resume();
  }

  /** Resets every connection. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    const upstream = connect(this.target, '127.0.0.1');
    const pair = [client, upstream] as const;
    this.#pairs.add(pair);
    const forget = (): void => {
      this.#pairs.delete(pair);
      for (const socket of pair) socket.destroy();
    };
    for (const socket of pair) {
      socket.on('error', forget);
      socket.on('close', forget);
      if (this.#stalled) socket.pause();
    }
    client.on('data', chunk => upstream.write(chunk));
    upstream.on('data', chunk => {
      if (!this.swallowAnswers) client.write(chunk);
    });
  }
}
