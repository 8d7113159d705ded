import { spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../cli/served.ts';
import { findKafka } from './kafka-program.ts';
import { ServerProcess, temporaryDirectory } from './server-process.ts';

const javaOptions = [
  '-Xms64m',
  '-Xmx512m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dorg.slf4j.simpleLogger.defaultLogLevel=info',
];

/** A real Kafka broker, its own controller, on ports and in a directory of its own. */
export class KafkaServer extends ServerProcess {
  readonly port: number;
  /** Clients that come in here are sent to the proxy that `start` was given. */
  readonly proxiedPort: number;
  readonly directory: string;

  private constructor(port: number, proxiedPort: number, directory: string) {
    super();
    this.port = port;
    this.proxiedPort = proxiedPort;
    this.directory = directory;
  }

  /** `proxyPort`: of a proxy that leads to `proxiedPort`; `more`: properties beyond those that sync every write. */
  static async start(proxyPort = 0, more: Readonly<Record<string, string>> = {}): Promise<KafkaServer> {
    const directory = temporaryDirectory('kafka');
    const server = new KafkaServer(await freePort(), await freePort(), directory);
    const controllerPort = await freePort();
    const properties = {
      'process.roles': 'broker,controller',
      'node.id': '1',
      'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
      listeners: `PLAINTEXT://127.0.0.1:${server.port},PROXIED://127.0.0.1:${server.proxiedPort},CONTROLLER://127.0.0.1:${controllerPort}`,
      'advertised.listeners': `PLAINTEXT://127.0.0.1:${server.port},PROXIED://127.0.0.1:${proxyPort === 0 ? server.proxiedPort : proxyPort}`,
      'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT',
      'controller.listener.names': 'CONTROLLER',
      'log.dirs': join(directory, 'data'),
      'offsets.topic.replication.factor': '1',
      'transaction.state.log.replication.factor': '1',
      'transaction.state.log.min.isr': '1',
      'auto.create.topics.enable': 'false',
      'broker.session.timeout.ms': '1000',
      'broker.heartbeat.interval.ms': '200',
      'log.flush.interval.messages': '1',
      ...more,
    };
    const text = Object.entries(properties).map(([name, value]) => `${name}=${value}`);
    writeFileSync(join(directory, 'server.properties'), `${text.join('\n')}\n`);
    const formatted = spawnSync(
      'java',
      server.#java('kafka.tools.StorageTool', 'format', '-t', 'tailracetailracetailra', '-c', 'server.properties'),
      { cwd: directory, encoding: 'utf8' },
    );
    if (formatted.status !== 0) throw new Error(`Kafka could not be formatted:\n${formatted.stderr}`);
    await server.start();
    return server;
  }

  get url(): string {
    return `kafka://127.0.0.1:${this.port}`;
  }

  /** Starts it (again); resolves when it serves. */
  async start(): Promise<void> {
    const child = spawn('java', this.#java('kafka.Kafka', 'server.properties'), {
      cwd: this.directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.process = child;
    let said = '';
    for await (const chunk of child.stderr) {
      said += String(chunk);
      if (said.includes('Kafka Server started')) {
        child.stderr.on('error', () => {});
        child.stderr.resume();
        return;
      }
    }
    throw new Error(`Kafka did not start:\n${said.slice(-5000)}`);
  }

  #java(program: string, ...args: readonly string[]): string[] {
    return [...javaOptions, '-cp', join(findKafka()!, '*'), program, ...args];
  }
}
