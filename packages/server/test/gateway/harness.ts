import type { IncomingMessage, ServerResponse } from 'node:http';
import { checkMessage, defaultInputLimits, isTailraceError, type MessageFields } from '@tailrace/protocol';
import { corsHeaders, type OriginOptions, OriginPolicy } from '../../src/admission/index.ts';
import { absoluteForm, PublishResults } from '../../src/api/index.ts';
import { defaultConfig } from '../../src/config/index.ts';
import { Door, Gateway, type GatewayOptions } from '../../src/gateway/index.ts';
import { streamRoutes } from '../../src/gateway/stream-routes.ts';
import { Hub, type HubOptions, passedOn, spooled } from '../../src/hub/index.ts';
import { type Log, openMemoryLog, systemClock, systemRandom } from '../../src/log/index.ts';
import { PublishCounts } from '../../src/observe/publish-counts.ts';
import { gatewayOptions, hubOptions } from '../../src/room-options.ts';

export interface RoomOptions {
  readonly log?: Log;
  readonly hub?: Partial<HubOptions>;
  readonly gateway?: Partial<Omit<GatewayOptions, 'hub'>>;
  readonly origins?: Partial<OriginOptions>;
  readonly headerMax?: number;
  readonly headerTimeout?: number;
  readonly spare?: number;
  readonly connectionsMax?: number;
}

/** Log, hub, gateway and door on a free port of loopback, with a handler that can do no more than a test needs. */
export class Rooms {
  /** The time of all rooms that a test gives no other. */
  readonly clock: typeof systemClock = systemClock;
  readonly log: Log;
  readonly hub: Hub;
  readonly gateway: Gateway;
  readonly door: Door;
  port = 0;
  /** Faults of the server: a test that expects none fails when it closes the rooms. */
  readonly faults: unknown[] = [];
  /** Requests that `/held` keeps open. */
  readonly held: ServerResponse[] = [];
  readonly #results: PublishResults;

  private constructor(options: RoomOptions) {
    this.log = options.log ?? openMemoryLog();
    const onFault = (error: unknown): void => void this.faults.push(error);
    const config = defaultConfig();
    const common = { clock: this.clock, random: systemRandom };
    this.hub = new Hub({
      ...common,
      log: this.log,
      ...hubOptions(config),
      onReadError: onFault,
      ...options.hub,
    });
    const origins = new OriginPolicy({ origins: [], hosts: [], authenticated: false, ...options.origins });
    this.#results = new PublishResults(this.hub.tokens, new PublishCounts());
    this.gateway = new Gateway({
      ...common,
      hub: this.hub,
      results: this.#results,
      limits: { ...defaultInputLimits, items: 1000, deadline: options.hub?.publishDeadline ?? 3000 },
      ...gatewayOptions(config),
      connectionsMax: options.connectionsMax ?? 19_000,
      onRoundTrip: () => {},
      server: 'tailrace/test',
      features: [],
      limitsTold: {},
      onFault,
      ...options.gateway,
    });
    this.door = new Door({
      gateway: this.gateway,
      origins,
      clock: this.clock,
      headerMax: options.headerMax ?? 16_384,
      headerTimeout: options.headerTimeout ?? 10_000,
      spare: options.spare ?? 256,
      connectionsMax: options.connectionsMax ?? 19_000,
      handle: (req, res) => this.#handle(origins, req, res),
    });
  }

  static async open(options: RoomOptions = {}): Promise<Rooms> {
    const rooms = new Rooms(options);
    rooms.port = (await rooms.door.listen('127.0.0.1', 0)).port;
    return rooms;
  }

  /** Publishes one message; its offset, 0 for class `none`. */
  async publish(topic: string, data: string | Uint8Array = '1', fields: MessageFields = {}): Promise<number> {
    const [result] = await this.hub.publisher.publish([checkMessage(topic, Buffer.from(data), fields)]);
    if (result === passedOn || result === spooled) return 0;
    if ('error' in result!) throw result.error;
    return result!.offset;
  }

  #handle(origins: OriginPolicy, req: IncomingMessage, res: ServerResponse): void {
    const absolute = absoluteForm(req.url ?? '');
    if (absolute !== undefined) req.url = absolute.url;
    const path = (req.url ?? '').split('?')[0]!;
    const { origin } = req.headers;
    const host = absolute?.host ?? req.headers.host;
    const verdict = origins.check({ host, origin, secFetchSite: req.headers['sec-fetch-site'] as string | undefined });
    if ('error' in verdict) {
      res.writeHead(verdict.error.status).end(JSON.stringify(verdict.error.toProblem()));
      return;
    }
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => void this.#answer(path, corsHeaders(verdict.allowOrigin), req, res, Buffer.concat(chunks)));
  }

  async #answer(
    path: string,
    cors: readonly string[],
    req: IncomingMessage,
    res: ServerResponse,
    body: Buffer,
  ): Promise<void> {
    try {
      const stream = streamRoutes(this.gateway).find(route => route.path === path && route.method === req.method);
      if (stream !== undefined) await stream.handle(req, res, '', cors, body);
      else if (req.method === 'POST' && path.startsWith('/v1/topics/')) {
        const topic = decodeURIComponent(path.slice('/v1/topics/'.length));
        const [result] = await this.hub.publisher.publish([checkMessage(topic, body, {})]);
        res.end(this.#results.text(result!) ?? '{}');
      } else if (path === '/held') {
        this.held.push(res);
        req.socket.once('close', () => this.held.splice(this.held.indexOf(res), 1));
      } else res.writeHead(path === '/ok' ? 200 : 404, { 'Content-Length': path.length }).end(path);
    } catch (error) {
      res.writeHead(isTailraceError(error) ? error.status : 500).end(String(error));
    }
  }

  async close(): Promise<void> {
    this.hub.close();
    this.gateway.close();
    const stopped = this.door.stopListening();
    this.door.destroy();
    for (const connection of [...this.gateway.connections]) connection.destroy();
    await stopped;
    await this.log.close();
  }
}

/** Waits until `condition` holds; fails with `what` after `ms`. No other wait is used in these tests. */
export async function until(condition: () => boolean, what: string | (() => string), ms = 20_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > deadline)
      throw new Error(`not within ${ms} ms: ${typeof what === 'string' ? what : what()}`);
    await new Promise(resolve => setTimeout(resolve, 2));
  }
}
