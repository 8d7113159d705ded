import { EventEmitter, once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import {
  encodeClose,
  encodePing,
  encodePong,
  encodeText,
  headerLength,
  writeHeader,
} from '../../../src/gateway/websocket/frame.ts';
import { handshake } from '../../../src/gateway/websocket/handshake.ts';
import { Opcode } from '../../../src/gateway/websocket/opcode.ts';
import {
  ENDED,
  type Receiver,
  type ReceiverLimits,
  type ReceiverSink,
  receive,
} from '../../../src/gateway/websocket/receiver.ts';

const HEAD_END = '\r\n\r\n';

/** The smallest server that the wire layer makes possible: it sends every message back. */
export class WireServer implements AsyncDisposable {
  readonly limits: ReceiverLimits;
  /** Emits `connection` with a WireConnection once its handshake is answered. */
  readonly events: EventEmitter = new EventEmitter();
  private readonly server: Server;
  private readonly open = new Set<WireConnection>();

  private constructor(limits: ReceiverLimits) {
    this.limits = limits;
    this.server = createServer(socket => {
      const connection = new WireConnection(this, socket);
      this.open.add(connection);
      socket.on('close', () => this.open.delete(connection));
    });
  }

  static async start(limits: ReceiverLimits): Promise<WireServer> {
    const wire = new WireServer(limits);
    wire.server.listen(0, '127.0.0.1');
    await once(wire.server, 'listening');
    return wire;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/v1/ws`;
  }

  async nextConnection(): Promise<WireConnection> {
    const [connection] = (await once(this.events, 'connection')) as [WireConnection];
    return connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { socket } of this.open) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}

/** Emits `message` (length), `pong` (data), `closed` (code, reason) and `refused` (code). */
export class WireConnection extends EventEmitter implements ReceiverSink {
  readonly limits: ReceiverLimits;
  readonly socket: Socket;
  state: Receiver | null = null;
  protocol = '';
  private readonly server: WireServer;
  private head = '';
  private upgraded = false;
  private closing = false;

  constructor(server: WireServer, socket: Socket) {
    super();
    this.server = server;
    this.limits = server.limits;
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.read(chunk));
    // a peer that resets is a peer that is gone
    socket.on('error', () => socket.destroy());
  }

  /** Whether it takes no more input. */
  get ended(): boolean {
    return this.state === ENDED;
  }

  ping(data: string): void {
    this.socket.write(encodePing(Buffer.from(data)));
  }

  close(code: number, reason: string): void {
    this.closing = true;
    this.socket.write(encodeClose(code, reason));
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    this.emit('message', data.length);
    if (!isBinary) {
      this.socket.write(encodeText(data));
      return;
    }
    // header and payload in one buffer, as a hot path does it
    const frame = Buffer.alloc(headerLength(data.length) + data.length);
    data.copy(frame, writeHeader(frame, 0, Opcode.binary, data.length));
    this.socket.write(frame);
  }

  onPing(data: Buffer): void {
    this.socket.write(encodePong(data));
  }

  onPong(data: Buffer): void {
    this.emit('pong', data.toString());
  }

  onClose(code: number | undefined, reason: string): void {
    if (!this.closing) this.socket.write(encodeClose(code));
    this.socket.end();
    this.emit('closed', code, reason);
  }

  onError(code: number, reason: string): void {
    this.socket.end(encodeClose(code, reason));
    this.emit('refused', code);
  }

  private read(chunk: Buffer): void {
    if (this.upgraded) {
      this.state = receive(this.state, chunk, this);
      return;
    }
    this.head += chunk.toString('latin1');
    const end = this.head.indexOf(HEAD_END);
    if (end === -1) return;
    const rest = Buffer.from(this.head.slice(end + HEAD_END.length), 'latin1');
    this.answer(this.head.slice(0, end).split('\r\n'));
    if (this.upgraded && rest.length > 0) this.state = receive(this.state, rest, this);
  }

  private answer([line = '', ...lines]: string[]): void {
    const [method = '', , version = ''] = line.split(' ');
    const headers = new Map<string, string>();
    for (const each of lines) {
      const name = each.slice(0, each.indexOf(':')).toLowerCase();
      const value = each.slice(each.indexOf(':') + 1).trim();
      headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
    }
    const request = { method, httpVersion: version.replace('HTTP/', ''), header: (name: string) => headers.get(name) };
    const result = handshake(request, ['tailrace.v1.json']);
    if (!result.ok) {
      const fields = Object.entries(result.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      this.socket.end(
        `HTTP/1.1 ${result.status} Refused\r\n${fields.join('')}Content-Length: ${result.detail.length}\r\n\r\n${result.detail}`,
      );
      return;
    }
    this.upgraded = true;
    this.protocol = result.protocol;
    this.socket.write(result.head);
    this.server.events.emit('connection', this);
  }
}
