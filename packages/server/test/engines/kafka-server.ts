import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../cli/served.ts';
import { findKafka, kafkaArchive } from './kafka-program.ts';
import { ServerProcess, temporaryDirectory } from './server-process.ts';

const isStarted = 'Kafka Server started';
const javaOptions = [
  '-Xms64m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
  '-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info',
];

export interface KafkaOptions {
  /** Of a proxy that leads to `proxiedPort`. */
  readonly proxyPort?: number;
  /** Security protocols of further listeners, by their names. */
  readonly listeners?: Readonly<Record<string, string>>;
  /** Properties beyond those that sync every write. */
  readonly properties?: Readonly<Record<string, string>>;
  readonly java?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Where a broker listens for other brokers. */
interface Seat {
  readonly id: number;
  readonly controllerPort: number;
}

/** A real Kafka broker, its own controller or one of several, on ports and in a directory of its own. */
export class KafkaServer extends ServerProcess {
  readonly id: number;
  readonly directory: string;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #java: readonly string[];
  readonly #env: Readonly<Record<string, string>>;

  private constructor(id: number, ports: ReadonlyMap<string, number>, { java = [], env = {} }: KafkaOptions) {
    super();
    this.id = id;
    this.directory = temporaryDirectory('kafka');
    this.#ports = ports;
    this.#java = java;
    this.#env = env;
  }

  static async start(options: KafkaOptions = {}): Promise<KafkaServer> {
    const [server] = await KafkaServer.#startAll(1, { java: ['-Xmx512m'], ...options });
    return server!;
  }

  /** Brokers that are one cluster; each is a controller too. */
  static cluster(size: number, options: KafkaOptions = {}): Promise<readonly KafkaServer[]> {
    return KafkaServer.#startAll(size, { java: ['-Xmx192m'], ...options });
  }

  static async #startAll(size: number, options: KafkaOptions): Promise<readonly KafkaServer[]> {
    const seats: Seat[] = [];
    for (let id = 1; id <= size; id++) seats.push({ id, controllerPort: await freePort() });
    const servers: KafkaServer[] = [];
    for (const seat of seats) {
      const ports = new Map<string, number>();
      for (const name of ['PLAINTEXT', 'PROXIED', ...Object.keys(options.listeners ?? {})])
        ports.set(name, await freePort());
      const server = new KafkaServer(seat.id, ports, options);
      server.#write(seat, seats, options);
      servers.push(server);
    }
    await Promise.all(servers.map(server => server.start()));
    return servers;
  }

  get port(): number {
    return this.portOf('PLAINTEXT');
  }

  /** Clients that come in here are sent to the proxy that `start` was given. */
  get proxiedPort(): number {
    return this.portOf('PROXIED');
  }

  get url(): string {
    return `kafka://127.0.0.1:${this.port}`;
  }

  portOf(listener: string): number {
    return this.#ports.get(listener)!;
  }

  /** Starts it (again); resolves when it serves. */
  async start(): Promise<void> {
    const archive = existsSync(kafkaArchive) ? [`-XX:SharedArchiveFile=${kafkaArchive}`] : [];
    const child = spawn(
      'java',
      [
        ...[...javaOptions, ...archive, ...this.#java],
        ...['-cp', join(findKafka()!, '*'), 'kafka.Kafka', 'server.properties'],
      ],
      { cwd: this.directory, stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...this.#env } },
    );
    this.process = child;
    let said = '';
    for await (const chunk of child.stderr) {
      said += String(chunk);
      if (said.includes(isStarted)) {
        child.stderr.on('error', () => {});
        child.stderr.resume();
        return;
      }
    }
    throw new Error(`Kafka did not start:\n${said.slice(-5000)}`);
  }

  /** What it is started with. Kafka's tool for that would be a second start of Java. */
  #write({ id, controllerPort }: Seat, seats: readonly Seat[], options: KafkaOptions): void {
    const { proxyPort = this.proxiedPort, listeners = {}, properties = {} } = options;
    const at = (name: string, port: number): string => `${name}://127.0.0.1:${port}`;
    const own = [...this.#ports].map(([name, port]) => at(name, port));
    const advertised = [...this.#ports].map(([name, port]) => at(name, name === 'PROXIED' ? proxyPort : port));
    const protocols = { PLAINTEXT: 'PLAINTEXT', PROXIED: 'PLAINTEXT', CONTROLLER: 'PLAINTEXT', ...listeners };
    const replicas = String(seats.length);
    const all = {
      'process.roles': 'broker,controller',
      'node.id': String(id),
      'controller.quorum.voters': seats.map(seat => `${seat.id}@127.0.0.1:${seat.controllerPort}`).join(','),
      listeners: [...own, at('CONTROLLER', controllerPort)].join(','),
      'advertised.listeners': advertised.join(','),
      'listener.security.protocol.map': Object.entries(protocols)
        .map(([name, protocol]) => `${name}:${protocol}`)
        .join(','),
      'controller.listener.names': 'CONTROLLER',
      'log.dirs': join(this.directory, 'data'),
      'offsets.topic.replication.factor': replicas,
      'transaction.state.log.replication.factor': replicas,
      'transaction.state.log.min.isr': '1',
      'auto.create.topics.enable': 'false',
      'broker.session.timeout.ms': '1000',
      'broker.heartbeat.interval.ms': '200',
      'log.flush.interval.messages': '1',
      'log.cleaner.dedupe.buffer.size': '2097152',
      ...properties,
    };
    const text = Object.entries(all).map(([name, value]) => `${name}=${value}\n`);
    writeFileSync(join(this.directory, 'server.properties'), text.join(''));
    mkdirSync(join(this.directory, 'data'));
    writeFileSync(
      join(this.directory, 'data', 'meta.properties'),
      `version=1\ncluster.id=tailracetailracetailra\nnode.id=${id}\n`,
    );
  }
}
