import type { Socket } from 'node:net';
import type { FrameLimits, Ref, ServerFrame } from '@tailrace/protocol';
import { heartbeatMax, TailraceError } from '@tailrace/protocol';
import type { PublishResults } from '../api/index.ts';
import type { Encoding, Hub } from '../hub/index.ts';
import type { Clock, Random } from '../log/index.ts';
import { webSocketJson } from './frame-encoding.ts';
import { GradeCounts } from './round-trip.ts';
import { sseEncoding } from './sse-encoding.ts';
import { encodePing } from './websocket/frame.ts';
import { defaultReceiverLimits, type ReceiverLimits } from './websocket/receiver.ts';
import { Wheel } from './wheel.ts';

export interface GatewayOptions {
  readonly hub: Hub;
  /** Turns what the publisher says into what clients are told. */
  readonly results: PublishResults;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: FrameLimits;
  /** Bytes of a WebSocket message from a client. */
  readonly frameMax: number;
  /** Streaming connections. */
  readonly connectionsMax: number;
  /** ms between the heartbeats of a client that does not ask for another time, by transport. */
  readonly heartbeat: { readonly sse: number; readonly websocket: number };
  /** ms a WebSocket client has for its first frame. */
  readonly connectTimeout: number;
  /** ms a WebSocket session may subscribe to nothing and send nothing. */
  readonly idleTimeout: number;
  /** Told the time from a ping to its pong and by how much that differs from the one before, ms (B2). */
  readonly onRoundTrip: (ms: number, jitterMs: number) => void;
  /** Connects per second that are fine when all come back: gives the reconnect window. */
  readonly reconnectRate: number;
  /** Longest reconnect window told at a drain, ms. */
  readonly drainWindow: number;
  /** Name and version for `welcome`. */
  readonly server: string;
  readonly features: readonly string[];
  /** Told in `welcome`. */
  readonly limitsTold: Readonly<Record<string, number>>;
  /** A fault of the server under a connection: for its log. */
  readonly onFault: (error: unknown) => void;
}

/** A streaming connection as the gateway sees it. */
export interface Connection {
  readonly transport: string;
  /** Tells the client to come back later and elsewhere, and ends. `within`: its own reconnect window, ms. */
  drain(within: number): void;
  destroy(): void;
  /** Counts its grades, where its client answers heartbeats. */
  countGrades?(grades: ConnectionGrades): void;
}

/** Connections by how long their clients take to answer, and by how much that varies (B2). */
export interface ConnectionGrades {
  readonly roundTrip: GradeCounts;
  readonly jitter: GradeCounts;
}

/** The connection layer: all streaming connections of this process and what they share. */
export class Gateway {
  readonly o: GatewayOptions;
  readonly hub: Hub;
  readonly clock: Clock;
  readonly wheel: Wheel;
  readonly connections: Set<Connection> = new Set();
  /** Open sockets that no stream has: the door puts them in, and who takes one over takes it out. */
  readonly sockets: Set<Socket> = new Set();
  /** How many of the connections are polls, whose socket stays node:http's. */
  polls = 0;
  readonly sse: Encoding;
  readonly sseRaw: Encoding;
  readonly receiverLimits: ReceiverLimits;
  draining = false;
  /** Streams refused, by error code. */
  readonly refused: Map<string, number> = new Map();
  /** Connections cut by the server, by reason. */
  readonly cut: Map<string, number> = new Map();
  #heartbeatAt = 0;
  #heartbeatBytes: Buffer | undefined;

  constructor(options: GatewayOptions) {
    this.o = options;
    this.hub = options.hub;
    this.clock = options.clock;
    this.receiverLimits = { ...defaultReceiverLimits, maxMessageBytes: options.frameMax };
    this.wheel = new Wheel(options.clock, Math.max(heartbeatMax, options.connectTimeout));
    this.sse = sseEncoding(false, options.hub.tokens);
    this.sseRaw = sseEncoding(true, options.hub.tokens);
  }

  /** Throws the refusal that holds for any new stream. */
  admit(): void {
    if (this.draining)
      throw new TailraceError('draining', 'the server is shutting down', { retryAfter: this.reconnectIn() });
    if (this.connections.size >= this.o.connectionsMax) {
      throw new TailraceError(
        'too_many_connections',
        `the server holds ${this.connections.size} connections, the most that limits.connections allows`,
        { retryAfter: this.reconnectIn() },
      );
    }
  }

  /** A time drawn from the window in which all clients can come back at an acceptable rate, ms. */
  reconnectIn(): number {
    const window = Math.min(this.o.drainWindow, Math.max(1000, (this.connections.size / this.o.reconnectRate) * 1000));
    return Math.round(500 + this.o.random.next() * window);
  }

  countCut(reason: string): void {
    this.cut.set(reason, (this.cut.get(reason) ?? 0) + 1);
  }

  /** The first frame of a session (§7). */
  welcome(session: string, ref: Ref | undefined, heartbeat: number): ServerFrame {
    const { server, features, limitsTold } = this.o;
    return {
      type: 'welcome',
      ...(ref === undefined ? {} : { ref }),
      session,
      server,
      protocol: 'tailrace.v1.json',
      heartbeat,
      features,
      limits: limitsTold,
    };
  }

  countRefused(code: string): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
  }

  countByTransport(): Map<string, number> {
    const counts = new Map<string, number>([
      ['sse', 0],
      ['websocket', 0],
      ['poll', 0],
    ]);
    for (const { transport } of this.connections) counts.set(transport, (counts.get(transport) ?? 0) + 1);
    return counts;
  }

  grades(): ConnectionGrades {
    const grades = { roundTrip: new GradeCounts(), jitter: new GradeCounts() };
    for (const connection of this.connections) connection.countGrades?.(grades);
    return grades;
  }

  /**
   * Whole monotonic ms that wrap at 32 bits, so that a field with them never costs an object of its own. They are
   * compared by their difference, `(a - b) | 0`, which is right for 24 days.
   */
  now(): number {
    return Math.round(this.clock.monotonic()) | 0;
  }

  /** Protocol ping and `heartbeat` frame in one buffer, shared by all that beat at `now`, which its pong brings back. */
  heartbeat(now: number): Buffer {
    if (this.#heartbeatBytes === undefined || now !== this.#heartbeatAt) {
      const payload = Buffer.allocUnsafe(4);
      payload.writeInt32BE(now);
      const frame = webSocketJson.notice({ type: 'heartbeat', time: this.clock.now() });
      this.#heartbeatAt = now;
      this.#heartbeatBytes = Buffer.concat([encodePing(payload), frame]);
    }
    return this.#heartbeatBytes;
  }

  /** Sends every streaming client away, each with a reconnect time of its own. */
  drain(): void {
    this.draining = true;
    for (const connection of [...this.connections]) connection.drain(this.reconnectIn());
  }

  /** Cuts what is left. */
  close(): void {
    this.wheel.stop();
    for (const connection of this.connections) connection.destroy();
  }
}
