import { connect, type Socket } from 'node:net';
import { until } from './harness.ts';

/** A TCP client that sends any bytes and keeps what comes back. */
export class RawClient {
  readonly socket: Socket;
  /** The peer ended its side. */
  ended = false;
  closed = false;
  connected = false;
  error: NodeJS.ErrnoException | undefined;
  #chunks: Buffer[] = [];
  #bytes: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('connect', () => (this.connected = true));
    socket.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    socket.on('end', () => (this.ended = true));
    socket.on('close', () => (this.closed = true));
    socket.on('error', error => (this.error = error));
  }

  static async open(
    port: number,
    options: { readonly reads?: boolean; readonly host?: string } = {},
  ): Promise<RawClient> {
    const socket = connect({ port, host: options.host ?? '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const client = new RawClient(socket);
    if (options.reads === false) socket.pause();
    await until(() => client.connected || client.closed, 'connected');
    return client;
  }

  get bytes(): Buffer {
    if (this.#chunks.length > 0) {
      this.#bytes = Buffer.concat([this.#bytes, ...this.#chunks]);
      this.#chunks = [];
    }
    return this.#bytes;
  }

  get text(): string {
    return this.bytes.toString('latin1');
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return this;
  }

  /** Sends each byte in a packet of its own. */
  async sendSlowly(text: string): Promise<void> {
    for (const byte of Buffer.from(text, 'latin1')) {
      this.socket.write(Buffer.from([byte]));
      await new Promise(resolve => setImmediate(resolve));
    }
  }

  /** Ends our side only. */
  end(): this {
    this.socket.end();
    return this;
  }

  destroy(): void {
    this.socket.destroy();
  }

  async has(part: string, ms?: number): Promise<string> {
    await until(
      () => this.text.includes(part),
      () => `${JSON.stringify(part)} in ${JSON.stringify(this.text.slice(-2000))}`,
      ms,
    );
    return this.text;
  }

  /** Waits until the server has ended or cut the connection; what came until then. */
  async over(ms?: number): Promise<string> {
    await until(
      () => this.ended || this.closed,
      () => `the end of ${JSON.stringify(this.text.slice(-2000))}`,
      ms,
    );
    return this.text;
  }
}

/** A GET with the headers given; HTTP/1.1 and Host are there. */
export function getRequest(target: string, headers: Readonly<Record<string, string>> = {}): string {
  const lines = Object.entries({ Host: '127.0.0.1', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `GET ${target} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

export function upgradeRequest(headers: Readonly<Record<string, string>> = {}, target = '/v1/ws'): string {
  return getRequest(target, {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  });
}

/** A JSON publish to a topic; `headers` are whole lines. */
export function publishRequest(topic: string, body: string, headers = ''): string {
  return `POST /v1/topics/${topic} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
}

/** The statuses of all answers in what came back. */
export function statuses(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1]));
}
