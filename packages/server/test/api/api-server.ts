import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { defaultInputLimits, type FrameLimits } from '@tailrace/protocol';
import { EngineBreaker, OriginPolicy } from '../../src/admission/index.ts';
import { type Api, createApi, PublishResults } from '../../src/api/index.ts';
import { defaultConfig } from '../../src/config/index.ts';
import { Gateway } from '../../src/gateway/gateway.ts';
import { pollRoutes } from '../../src/gateway/poll.ts';
import { streamRoutes } from '../../src/gateway/stream-routes.ts';
import { Hub, type HubOptions } from '../../src/hub/index.ts';
import { type Log, openMemoryLog, systemClock, systemRandom } from '../../src/log/index.ts';
import { createMetrics, type Metrics } from '../../src/observe/index.ts';
import { gatewayOptions, hubOptions } from '../../src/room-options.ts';
import { Bystander } from '../gateway/bystander.ts';

/** The API and long-poll on a real port over a memory log, without the front door. */
export interface ApiServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly log: Log;
  readonly hub: Hub;
  readonly gateway: Gateway;
  readonly api: Api;
  readonly metrics: Metrics;
  /** What the server called its own faults. */
  readonly faults: unknown[];
  draining: boolean;
  /** Open connections. */
  readonly connections: number;
}

export interface ApiServerOptions {
  readonly log?: Log;
  readonly limits?: Partial<FrameLimits>;
  readonly bodyMax?: number;
  readonly bodyTimeout?: number;
  readonly origins?: readonly string[];
  readonly hosts?: readonly string[];
  readonly pages?: string;
  readonly hub?: Partial<HubOptions>;
  readonly stallMax?: number;
}

export async function startApi(options: ApiServerOptions = {}): Promise<ApiServer> {
  const faults: unknown[] = [];
  const metrics = createMetrics();
  const log = options.log ?? openMemoryLog({ onCommitStats: metrics.onCommit });
  const clock = systemClock;
  const config = defaultConfig();
  const publishDeadline = options.hub?.publishDeadline ?? config.publish.deadline;
  const limits: FrameLimits = { ...defaultInputLimits, items: 1000, deadline: publishDeadline, ...options.limits };
  const hub = new Hub({
    log,
    clock,
    random: systemRandom,
    ...hubOptions(config),
    onReadError: error => faults.push(error),
    ...options.hub,
  });
  const gateway = new Gateway({
    hub,
    results: new PublishResults(hub.tokens, metrics.publishes),
    clock,
    random: systemRandom,
    limits,
    ...gatewayOptions(config),
    connectionsMax: 1000,
    onRoundTrip: () => {},
    server: 'tailrace/test',
    features: [],
    limitsTold: {},
    onFault: error => faults.push(error),
  });
  const api = createApi({
    hub,
    clock,
    origins: new OriginPolicy({
      origins: options.origins ?? [],
      hosts: options.hosts ?? [],
      authenticated: false,
    }),
    metrics,
    limits,
    config: {
      ...config,
      body: { timeout: options.bodyTimeout ?? config.body.timeout },
      stall: { max: options.stallMax ?? config.stall.max },
      limits: { ...limits, body: options.bodyMax ?? config.limits.body },
    },
    server: 'tailrace/test',
    routes: [...streamRoutes(gateway), ...pollRoutes(gateway, { wait: 25_000, max: 60_000 })],
    isDraining: () => server.draining,
    onFault: error => faults.push(error),
    ...(options.pages === undefined ? {} : { pages: options.pages }),
  });
  metrics.watch({ clock, hub, gateway, log, engine: new EngineBreaker([], clock, () => {}) });
  const http = createServer({ requestTimeout: 0, keepAliveTimeout: 65_000 });
  http.on('request', api.handle);
  http.on('checkContinue', api.handle);
  let connections = 0;
  http.on('connection', socket => {
    connections++;
    socket.on('close', () => connections--);
  });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  const { port } = http.address() as AddressInfo;
  const server: ApiServer = {
    url: `http://127.0.0.1:${port}`,
    port,
    log,
    hub,
    gateway,
    api,
    metrics,
    faults,
    draining: false,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      http.close();
      hub.close();
      gateway.close();
      await api.close();
      metrics.close();
      await log.close();
    },
  };
  return server;
}

/** `Bystander.beside` for a server that serves no upgrade. */
export function besideOthers<T>(server: ApiServer, act: () => Promise<T>): Promise<T> {
  return Bystander.beside(server, act, { webSocket: false });
}

/** Sends bytes as they are and gives all that comes back until the server closes, or `until` has been seen. */
export class RawClient implements Disposable {
  readonly socket: Socket;
  received = '';
  closed = false;
  #changed: (() => void)[] = [];

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.setEncoding('latin1');
    this.socket.on('data', (text: string) => {
      this.received += text;
      this.#signal();
    });
    this.socket.on('close', () => {
      this.closed = true;
      this.#signal();
    });
    this.socket.on('error', () => {});
  }

  send(text: string | Buffer): void {
    this.socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }

  /** Waits until `until` has come; throws when the server closes before. */
  async seen(until: string): Promise<string> {
    while (!this.received.includes(until)) {
      if (this.closed) throw new Error(`closed before ${JSON.stringify(until)}: ${this.received}`);
      await this.#wait();
    }
    return this.received;
  }

  async end(): Promise<string> {
    while (!this.closed) await this.#wait();
    return this.received;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #wait(): Promise<void> {
    return new Promise(resolve => this.#changed.push(resolve));
  }

  #signal(): void {
    for (const wake of this.#changed.splice(0)) wake();
  }
}

/** Waits for a condition that needs no signal of its own. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never: ${condition.toString()}`);
    await new Promise(resolve => setTimeout(resolve, 2));
  }
}

/** All records of the log, data as text. */
export async function contents(
  log: Log,
  filter = '#',
): Promise<{ topic: string; data: string; record: import('../../src/log/index.ts').LogRecord }[]> {
  const { filterSet } = await import('@tailrace/protocol');
  const { records } = await log.read(log.floor, log.head.offset, filterSet([filter]), 1e9);
  return records.map(record => ({ topic: record.topic, data: Buffer.from(record.data).toString(), record }));
}
