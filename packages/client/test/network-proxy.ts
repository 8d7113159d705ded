import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Stands between a client and its server, and does what networks and their proxies do. */
export class NetworkProxy implements AsyncDisposable {
  /** Answers without a length are kept until they have ended. */
  buffers = false;
  /** WebSockets that were asked for. */
  upgrades = 0;
  /** ms that what the server says takes longer. */
  delay = 0;
  /** Who connects is reset at once. */
  refuses = false;
  /** Takes `Upgrade` out of every request, as proxies do that know HTTP only. */
  stripsUpgrades = false;
  readonly #target: number;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  #cutAfter = Number.POSITIVE_INFINITY;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer(client => this.#accept(client));
  }

  static async start(target: number): Promise<NetworkProxy> {
    const proxy = new NetworkProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resets every connection. */
  cut(): void {
    for (const client of this.#clients) client.resetAndDestroy();
  }

  /** Resets the connection on which the server has said so many bytes more, wherever in a frame that is. */
  cutAfter(bytes: number): void {
    this.#cutAfter = bytes;
  }

  /** Nothing passes any more, and nobody says so; connections that are made later are all right. */
  stall(): void {
    for (const client of this.#clients) client.pause().emit('stall');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    if (this.refuses) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(this.#target, '127.0.0.1');
    this.#clients.add(client);
    let isStalled = false;
    let isKept = false;
    client.on('stall', () => {
      isStalled = true;
    });
    const end = (): void => {
      this.#clients.delete(client);
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
    client.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      if (/^upgrade: websocket\r\n/im.test(text)) this.upgrades++;
      upstream.write(this.stripsUpgrades ? text.replace(/^upgrade: websocket\r\n/im, '') : text, 'latin1');
    });
    upstream.on('data', (chunk: Buffer) => {
      if (isStalled) return;
      // a stream is an answer whose end nobody knows
      isKept ||= this.buffers && /content-type: text\/event-stream/i.test(chunk.toString('latin1'));
      if (isKept) return;
      this.#cutAfter -= chunk.length;
      if (this.#cutAfter >= 0) {
        if (this.delay === 0) client.write(chunk);
        else setTimeout(() => client.write(chunk), this.delay);
        return;
      }
      client.write(chunk.subarray(0, chunk.length + this.#cutAfter), () => client.resetAndDestroy());
      this.#cutAfter = Number.POSITIVE_INFINITY;
    });
  }
}
