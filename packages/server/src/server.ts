import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { hostname } from 'node:os';
import type { FrameLimits } from '@tailrace/protocol';
import { pino } from 'pino';
import { EngineBreaker, OriginPolicy } from './admission/index.ts';
import { type Api, createApi, PublishResults } from './api/index.ts';
import type { Config } from './config/index.ts';
import { Door, Gateway } from './gateway/index.ts';
import { pollRoutes } from './gateway/poll.ts';
import { streamRoutes } from './gateway/stream-routes.ts';
import { Hub } from './hub/index.ts';
import { type Log, type Spool, systemClock, systemRandom } from './log/index.ts';
import { connectionsAllowed } from './observe/descriptors.ts';
import { createMetrics, type Metrics } from './observe/index.ts';
import { openLog, openSpoolOf, type StartOptions } from './open-log.ts';
import { gatewayOptions, hubOptions, spoolRule } from './room-options.ts';
import { version } from './version.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** What was added to the protocol after its first version (§8.3). */
const features: readonly string[] = ['heartbeat', 'deadline', 'expect', 'state', 'delete'];

const clock = systemClock;
const random = systemRandom;

/** The rooms put together: log, hub, gateway and api of one process, with or without a port of its own. */
export class Server {
  readonly config: Config;
  readonly limits: FrameLimits;
  readonly log: Log;
  readonly hub: Hub;
  readonly gateway: Gateway;
  readonly results: PublishResults;
  readonly door: Door;
  readonly #api: Api;
  readonly #logger: pino.Logger;
  readonly #metrics: Metrics;
  readonly #breaker: EngineBreaker;
  readonly #spool: Spool | undefined;
  #closing: Promise<void> | undefined;

  private constructor(config: Config, log: Log, spool: Spool | undefined, metrics: Metrics, logger: pino.Logger) {
    this.config = config;
    this.log = log;
    this.#spool = spool;
    const takes = spoolRule(config) ?? ((): boolean => false);
    this.#logger = logger;
    this.#metrics = metrics;
    const { limits } = config;
    const onFault = (error: unknown): void => logger.error(error, 'fault');
    this.#breaker = new EngineBreaker(log.probes, clock, ({ level, message, ...report }) =>
      logger[level](report, message),
    );
    this.hub = new Hub({
      log,
      breaker: this.#breaker,
      spool: spool && {
        takes,
        append: (messages, durability) => spool.append(messages, durability),
        get waiting() {
          return spool.waiting;
        },
      },
      clock,
      random,
      ...hubOptions(config),
      onReadError: error => logger.error(error, 'the log could not be read for a subscriber'),
    });
    this.limits = {
      topicBytes: limits.topic,
      topicLevels: limits.levels,
      filters: limits.filters,
      message: limits.message,
      messageHeaders: limits.messageHeaders,
      durabilities: [...log.capabilities.durabilities, 'none'],
      items: limits.items,
      deadline: config.publish.deadline,
    };
    const origins = new OriginPolicy({ origins: config.origins, hosts: config.hosts, authenticated: config.insecure });
    const connectionsMax = connectionsAllowed(limits.connections);
    this.results = new PublishResults(this.hub.tokens, metrics.publishes);
    this.gateway = new Gateway({
      hub: this.hub,
      results: this.results,
      clock,
      random,
      limits: this.limits,
      ...gatewayOptions(config),
      connectionsMax,
      onRoundTrip: metrics.onRoundTrip,
      server: `tailrace/${version}`,
      features,
      limitsTold: { ...limits },
      onFault,
    });
    this.#api = createApi({
      hub: this.hub,
      clock,
      origins,
      metrics,
      limits: this.limits,
      config,
      server: `tailrace/${version}`,
      features,
      routes: [...streamRoutes(this.gateway), ...pollRoutes(this.gateway, config.poll)],
      isDraining: () => this.gateway.draining,
      onFault,
    });
    this.door = new Door({
      gateway: this.gateway,
      origins,
      clock,
      handle: (req, res) => this.#api.handle(req, res),
      headerMax: limits.header,
      headerTimeout: config.header.timeout,
      connectionsMax,
      spare: 256,
    });
    this.#introduce('');
    metrics.watch({ clock, hub: this.hub, gateway: this.gateway, log, engine: this.#breaker, spool });
  }

  /** Opens the log and puts the rooms together; no port is opened. Rejects when the log cannot be opened. */
  static async open(config: Config, options: StartOptions = {}): Promise<Server> {
    const logger = pino({ level: config.log.level }, pino.destination({ dest: 2, sync: true }));
    const metrics = createMetrics();
    const log = await openLog(config, options, metrics, logger);
    try {
      return new Server(config, log, await openSpoolOf(config, log, options, logger), metrics, logger);
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  listen(): Promise<Address> {
    return this.door.listen(this.config.host, this.config.port).then(({ address, port }) => {
      this.#introduce(`${address.includes(':') ? `[${address}]` : address}:${port}`);
      return { host: address, port };
    });
  }

  /** The other servers of a shared log are to know of this one. */
  #introduce(address: string): void {
    this.log.shared?.nodes?.introduce({ name: hostname(), address, version });
  }

  /** A request handler for any node:http server (embedding). */
  handle(req: IncomingMessage, res: ServerResponse): void {
    this.#api.handle(req, res);
  }

  /** The same server's `upgrade` event. */
  upgrade(req: IncomingMessage, socket: Socket, head: Buffer): void {
    this.door.upgrade(req, socket, head);
  }

  /**
   * Drains and stops: nothing new is accepted, clients are told when to come back, requests in flight are answered, the
   * log is closed. What `drain.timeout` does not suffice for is cut; no acked message is lost by that.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const stopped = this.door.stopListening();
    this.hub.publisher.draining = true;
    this.gateway.drain();
    await this.#until(
      () => this.door.inFlight === 0 && this.door.publishing === 0 && this.gateway.connections.size === 0,
      this.config.drain.timeout,
    );
    this.#breaker.close();
    this.hub.close();
    this.gateway.close();
    await this.#api.close();
    this.#metrics.close();
    this.door.destroy();
    await stopped;
    await this.#spool?.close();
    await this.log.close();
    this.#logger.flush();
  }

  async #until(done: () => boolean, timeout: number): Promise<void> {
    const deadline = clock.monotonic() + timeout;
    while (!done() && clock.monotonic() < deadline) {
      this.door.closeIdle();
      await new Promise<void>(resolve => setTimeout(resolve, 10));
    }
  }
}

/** Opens a server on its port. */
export async function startServer(
  config: Config,
  options: StartOptions = {},
): Promise<{ readonly address: Address; readonly server: Server; close(): Promise<void> }> {
  const server = await Server.open(config, options);
  try {
    return { address: await server.listen(), server, close: () => server.close() };
  } catch (error) {
    await server.close();
    throw error;
  }
}
