import { afterEach, beforeEach, expect } from 'vitest';
import type { ClientOptions } from 'ws';
import { EngineBreaker } from '../../src/admission/index.ts';
import type { Session } from '../../src/hub/index.ts';
import { createMetrics, type Metrics } from '../../src/observe/index.ts';
import { SimulatedClock } from '../hub/simulation.ts';
import { type RoomOptions, Rooms, until } from './harness.ts';
import { SseClient } from './sse-client.ts';
import { WsClient } from './ws-client.ts';

const stepMs = 100;
/** What the steps of the wheel may add to a time, ms. */
export const tick = 500;

/** Real sockets to a gateway whose time passes only where a test says so. */
export class Stage {
  clock!: SimulatedClock;
  metrics!: Metrics;
  /** Each round trip with its jitter, as the gateway told them. */
  roundTrips: [ms: number, jitter: number][] = [];
  rooms!: Rooms;
  #leave: (() => void)[] = [];

  async open(gateway: RoomOptions['gateway'] = {}, rooms: RoomOptions = {}): Promise<void> {
    this.clock = new SimulatedClock();
    this.clock.readCost = 0;
    this.metrics = createMetrics();
    this.roundTrips = [];
    this.rooms = await Rooms.open({
      ...rooms,
      gateway: { clock: this.clock, onRoundTrip: (...trip) => void this.roundTrips.push(trip), ...gateway },
    });
    this.metrics.watch({ ...this.rooms, engine: new EngineBreaker([], this.clock, () => {}) });
  }

  /** Opens rooms with options of the test's own instead of those it began with. */
  async begin(gateway?: RoomOptions['gateway'], rooms?: RoomOptions): Promise<void> {
    await this.close();
    await this.open(gateway, rooms);
  }

  async peer(connect: object = { subscribe: [{ filter: 'a' }] }, options?: ClientOptions): Promise<Peer> {
    const client = await WsClient.open(this.rooms.port, options);
    this.#leave.push(() => client.close());
    const { session, heartbeat } = await client.ask({ type: 'connect', ref: 'c', ...connect });
    return new Peer(this, client, this.rooms.hub.sessions.get(session as string)!, heartbeat as number);
  }

  async stream(query = 'filter=a'): Promise<{ client: SseClient; session: Session }> {
    const client = await SseClient.open(this.rooms.port, query);
    this.#leave.push(() => client.close());
    const { session } = await client.notice('subscribed');
    return { client, session: this.rooms.hub.sessions.get(session as string)! };
  }

  /** Lets time pass. */
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += stepMs) this.clock.advance(stepMs);
  }

  /** Lets time pass until the server did something; how much that took, ms. */
  passUntil(done: () => boolean, what: string): number {
    const began = this.clock.ms;
    while (!done()) {
      if (this.clock.ms - began > 200_000) throw new Error(`never: ${what}`);
      this.clock.advance(stepMs);
    }
    return this.clock.ms - began;
  }

  /** Lets time pass until a stream is written to after it was quiet; how much that took, ms. */
  passUntilWritten(session: Session): number {
    let before = true;
    return this.passUntil(() => {
      const now = session.wrote;
      const written = now && !before;
      before = now;
      return written;
    }, 'a write');
  }

  cuts(): Record<string, number> {
    return Object.fromEntries(this.rooms.gateway.cut);
  }

  /** The gauges of one measure: `newest prompt` and so on. */
  async graded(measure: string): Promise<Record<string, number>> {
    const lines = (await this.metrics.text()).matchAll(
      /^tailrace_(\w+)_connections\{window="(\w+)",grade="(\w+)"\} (\d+)$/gm,
    );
    return Object.fromEntries(
      [...lines].filter(line => line[1] === measure).map(line => [`${line[2]} ${line[3]}`, Number(line[4])]),
    );
  }

  async close(): Promise<void> {
    for (const leave of this.#leave.splice(0)) leave();
    await until(() => this.rooms.gateway.connections.size === 0, 'no connection left');
    expect(this.rooms.gateway.wheel.size).toBe(0);
    expect(this.rooms.faults).toEqual([]);
    await this.rooms.close();
    this.metrics.close();
  }
}

/** A WebSocket client that knows when each ping was sent, by what it carries. */
export class Peer {
  readonly client: WsClient;
  readonly session: Session;
  /** As `welcome` tells it. */
  readonly heartbeat: number;
  /** Times of the pings that came, ms since the peer connected. */
  readonly pings: number[] = [];
  readonly payloads: Buffer[] = [];
  readonly #stage: Stage;
  readonly #due: { readonly at: number; readonly payload: Buffer }[] = [];

  constructor(stage: Stage, client: WsClient, session: Session, heartbeat: number) {
    this.#stage = stage;
    this.client = client;
    this.session = session;
    this.heartbeat = heartbeat;
    const began = stage.rooms.gateway.now();
    client.socket.on('ping', (payload: Buffer) => {
      this.pings.push((payload.readInt32BE(0) - began) | 0);
      this.payloads.push(payload);
    });
  }

  /** Lets time pass while each ping is answered `after` ms of it. */
  async answer(ms: number, after = 0): Promise<void> {
    const { clock, roundTrips } = this.#stage;
    const due = this.#due;
    for (let passed = 0; passed < ms; passed += stepMs) {
      const seen = this.pings.length;
      this.session.wrote = false;
      clock.advance(stepMs);
      if (this.session.closed) return;
      if (this.session.wrote) {
        await until(() => this.pings.length > seen, 'a ping');
        due.push({ at: clock.ms + after, payload: this.payloads.at(-1)! });
      }
      while (due.length > 0 && due[0]!.at <= clock.ms) {
        const before = roundTrips.length;
        this.client.socket.pong(due.shift()!.payload);
        await until(() => roundTrips.length > before, 'its answer taken');
      }
    }
  }
}

/** A time that the wheel met: not before, and not more than its steps after. */
export function expectTimes(times: readonly number[], wanted: readonly number[]): void {
  expect(times).toHaveLength(wanted.length);
  for (const [i, at] of times.entries()) {
    expect(at, `the time at ${i} of ${times}`).toBeGreaterThanOrEqual(wanted[i]!);
    expect(at, `the time at ${i} of ${times}`).toBeLessThanOrEqual(wanted[i]! + 2 * tick);
  }
}

export const silent: ClientOptions = { autoPong: false };
export const subscribe: readonly object[] = [{ filter: 'a' }];

/** Open before each test, closed after it. */
export function heartbeatStage(): Stage {
  const stage = new Stage();
  beforeEach(() => stage.open());
  afterEach(() => stage.close());
  return stage;
}
