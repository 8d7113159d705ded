import { type Cursor, formatCursor } from '@tailrace/protocol';
import { afterEach, beforeEach, expect } from 'vitest';
import type { ClientOptions } from 'ws';
import { Bystander } from './bystander.ts';
import { type RoomOptions, Rooms, until } from './harness.ts';
import { RawClient, upgradeRequest } from './raw-client.ts';
import { SseClient } from './sse-client.ts';
import { WsClient } from './ws-client.ts';

/** The rooms of one test, with a bystander who must not notice it; behind it nothing of its clients may be left. */
export class WatchedRooms {
  rooms!: Rooms;
  bystander!: Bystander;
  #leave: (() => void)[] = [];

  /** Rooms with options of the test's own, instead of those it began with. */
  async begin(options: RoomOptions = {}): Promise<void> {
    if (this.rooms !== undefined) await this.rooms.close();
    this.rooms = await Rooms.open(options);
    this.bystander = await Bystander.open(this.rooms);
  }

  async stream(query: string, headers?: Record<string, string>): Promise<SseClient> {
    const client = await SseClient.open(this.rooms.port, query, headers);
    this.#leave.push(() => client.close());
    return client;
  }

  async webSocket(options?: ClientOptions): Promise<WsClient> {
    const client = await WsClient.open(this.rooms.port, options);
    this.#leave.push(() => client.close());
    return client;
  }

  /** A connection whose bytes are in the test's hand. */
  async raw(options: { readonly host?: string } = {}): Promise<RawClient> {
    const client = await RawClient.open(this.rooms.port, options);
    this.#leave.push(() => client.destroy());
    return client;
  }

  /** The same, after the handshake of a WebSocket. */
  async upgraded(): Promise<RawClient> {
    const client = await this.raw();
    client.send(upgradeRequest());
    await client.has('101 Switching');
    return client;
  }

  /** Sends these bytes on a connection of their own and returns all that comes back until the server ends it. */
  async send(bytes: string, ms?: number): Promise<string> {
    const client = await this.raw();
    client.send(bytes);
    await this.bystander.publish();
    return client.over(ms);
  }

  /** The cursor behind an offset, or one that differs from it in some of its fields. */
  cursor(offset: number, fields: Partial<Cursor> = {}): string {
    const { id, head, hot } = this.rooms.log;
    return formatCursor({ log: id, epoch: head.epoch, offset, time: hot.timeAt(offset) ?? 0, ...fields });
  }

  async end(): Promise<void> {
    const { rooms, bystander } = this;
    await bystander.check();
    for (const leave of this.#leave.splice(0)) leave();
    bystander.close();
    await until(() => rooms.gateway.connections.size === 0, 'no connection left');
    await until(
      () => rooms.door.sockets.size === 0,
      () => `no socket left, there are ${rooms.door.sockets.size}`,
    );
    expect(rooms.door.inFlight).toBe(0);
    expect(rooms.hub.sessions.size).toBe(0);
    expect(rooms.hub.cohorts.size).toBe(0);
    expect(rooms.gateway.wheel.size).toBe(0);
    await rooms.close();
  }
}

/** Opens them before each test, and ends them after it. */
export function watchedRooms(): WatchedRooms {
  const watched = new WatchedRooms();
  beforeEach(() => watched.begin());
  afterEach(() => watched.end());
  return watched;
}
