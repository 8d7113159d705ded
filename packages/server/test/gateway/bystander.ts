import { expect } from 'vitest';
import { until } from './harness.ts';
import { RawClient } from './raw-client.ts';
import { SseClient } from './sse-client.ts';
import { WsClient } from './ws-client.ts';

/** A server to stand beside; each kind that tests start has these. */
export interface Place {
  readonly port: number;
  readonly gateway: { readonly connections: { readonly size: number } };
  /** What the server called its own faults. */
  readonly faults?: readonly unknown[];
}

export interface BystanderOptions {
  /** False where nothing is served but HTTP. */
  readonly webSocket?: boolean;
}

/**
 * Somebody else on the same server: an event stream and a WebSocket that receive messages all the while, and a
 * kept-alive connection that publishes them. Whatever a test does to its own connections, these must not notice.
 */
export class Bystander {
  readonly #place: Place;
  readonly #sse: SseClient;
  readonly #ws: WsClient | undefined;
  readonly #sent: number[] = [];
  #publisher: RawClient | undefined;

  private constructor(place: Place, sse: SseClient, ws: WsClient | undefined) {
    this.#place = place;
    this.#sse = sse;
    this.#ws = ws;
  }

  static async open(place: Place, options: BystanderOptions = {}): Promise<Bystander> {
    const sse = await SseClient.open(place.port, 'filter=bystander/%23');
    expect(sse.status).toBe(200);
    if (options.webSocket === false) return new Bystander(place, sse, undefined);
    const ws = await WsClient.open(place.port);
    await ws.ask({ type: 'subscribe', ref: 1, subscriptions: [{ filter: 'bystander/+' }] });
    return new Bystander(place, sse, ws);
  }

  /**
   * Does `act` while somebody subscribes and publishes, who must be unharmed before and after. Gives what `act` gives,
   * once the server has seen the bystander leave.
   */
  static async beside<T>(
    place: Place,
    act: (bystander: Bystander) => Promise<T>,
    options: BystanderOptions = {},
  ): Promise<T> {
    const others = place.gateway.connections.size;
    const bystander = await Bystander.open(place, options);
    try {
      await bystander.check();
      const result = await act(bystander);
      await bystander.check();
      bystander.close();
      await until(() => place.gateway.connections.size <= others, 'the bystander has left');
      return result;
    } finally {
      bystander.close();
    }
  }

  /** Publishes on the connection that all its publishes take; refused, unanswered or cut, it fails. */
  async publish(): Promise<void> {
    this.#publisher ??= await RawClient.open(this.#place.port);
    const publisher = this.#publisher;
    const begin = publisher.bytes.length;
    publisher.send(
      'POST /v1/topics/bystander/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1',
    );
    const answer = (): RegExpExecArray | null =>
      /^HTTP\/1\.1 200 OK\r\n.*\r\n\r\n.*"offset":(\d+).*\}/s.exec(publisher.text.slice(begin));
    await until(
      () => answer() !== null,
      () => `the bystander's publish in ${JSON.stringify(publisher.text.slice(begin))}, closed: ${publisher.closed}`,
    );
    this.#sent.push(Number(answer()![1]));
  }

  /** Publishes once more: everything since the beginning must have come, once, in order, on both. */
  async check(): Promise<void> {
    await this.publish();
    await this.#sse.count(this.#sent.length);
    expect(this.#sse.offsets).toEqual(this.#sent);
    if (this.#ws !== undefined) {
      await this.#ws.received(this.#sent.length);
      expect(this.#ws.offsets()).toEqual(this.#sent);
    }
    expect(this.#place.faults ?? []).toEqual([]);
  }

  close(): void {
    this.#sse.close();
    this.#ws?.close();
    this.#publisher?.destroy();
  }
}
