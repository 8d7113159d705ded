import { expect } from 'vitest';
import type { Rooms } from './harness.ts';
import { SseClient } from './sse-client.ts';
import { WsClient } from './ws-client.ts';

/**
 * Somebody else on the same server: an event stream and a WebSocket that receive messages all the while. Whatever a test
 * does to its own connections, these must not notice.
 */
export class Bystander {
  readonly #rooms: Rooms;
  readonly #sse: SseClient;
  readonly #ws: WsClient;
  readonly #sent: number[] = [];

  private constructor(rooms: Rooms, sse: SseClient, ws: WsClient) {
    this.#rooms = rooms;
    this.#sse = sse;
    this.#ws = ws;
  }

  static async open(rooms: Rooms): Promise<Bystander> {
    const sse = await SseClient.open(rooms.port, 'filter=bystander/%23');
    const ws = await WsClient.open(rooms.port);
    await ws.ask({ type: 'subscribe', ref: 1, subscriptions: [{ filter: 'bystander/+' }] });
    return new Bystander(rooms, sse, ws);
  }

  async publish(): Promise<void> {
    this.#sent.push(await this.#rooms.publish('bystander/1'));
  }

  /** Publishes once more: everything since the beginning must have come, once, in order, on both. */
  async check(): Promise<void> {
    await this.publish();
    await this.#sse.count(this.#sent.length);
    await this.#ws.received(this.#sent.length);
    expect(this.#sse.offsets).toEqual(this.#sent);
    expect(this.#ws.offsets()).toEqual(this.#sent);
    expect(this.#rooms.faults).toEqual([]);
  }

  close(): void {
    this.#sse.close();
    this.#ws.close();
  }
}
