import { spawn } from 'node:child_process';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node';
import { freePort } from '../cli/served.ts';
import { findNats } from './nats-program.ts';
import { ServerProcess, temporaryDirectory } from './server-process.ts';

export const natsProgram: string | undefined = findNats();

function synced(store: string): string {
  return `jetstream { store_dir: "${store}", sync_interval: always }`;
}

/** A real NATS server with JetStream, on a port and in a directory of its own. */
export class NatsServer extends ServerProcess {
  readonly port: number;
  readonly directory: string;
  readonly #more: string;
  readonly #jetstream: (store: string) => string;

  private constructor(port: number, directory: string, more: string, jetstream: (store: string) => string = synced) {
    super();
    this.port = port;
    this.directory = directory;
    this.#more = more;
    this.#jetstream = jetstream;
  }

  /** `more`: lines of its configuration; `jetstream`: those of JetStream with its directory, if not these. */
  static async start(more = '', jetstream: (store: string) => string = synced): Promise<NatsServer> {
    const server = new NatsServer(await freePort(), temporaryDirectory('nats'), more, jetstream);
    await server.start();
    return server;
  }

  /** Servers that are one: each stream lives on as many of them as it wants replicas. */
  static async cluster(size: number): Promise<readonly NatsServer[]> {
    const ports = await Promise.all(Array.from({ length: size * 2 }, freePort));
    const routes = ports.slice(size).map(port => `"nats://127.0.0.1:${port}"`);
    const servers = ports.slice(0, size).map((port, i) => {
      const lines = [
        `server_name: n${i}`,
        `cluster { name: c, listen: "127.0.0.1:${ports[size + i]}", no_advertise: true, routes: [${routes.join(', ')}] }`,
      ];
      return new NatsServer(port, temporaryDirectory('nats'), lines.join('\n'));
    });
    await Promise.all(servers.map(server => server.start()));
    return servers;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Starts it (again); resolves when it takes connections. */
  async start(): Promise<void> {
    const file = join(this.directory, 'nats.conf');
    writeFileSync(file, `listen: "127.0.0.1:${this.port}"\n${this.#jetstream(this.#store)}\n${this.#more}\n`);
    const child = spawn(natsProgram!, ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    this.process = child;
    let said = '';
    // read on for as long as it runs: it ends when nobody takes what it says
    const isThere = new Promise<void>((resolve, reject) => {
      child.stderr.on('data', chunk => {
        said = (said + String(chunk)).slice(-4000);
        if (said.includes('Server is ready')) resolve();
      });
      child.once('exit', () => reject(new Error(`nats-server did not start:\n${said}`)));
    });
    await isThere;
  }

  /** A client of the test's own. */
  client(options: NodeConnectionOptions = {}): Promise<NatsConnection> {
    return connect({ servers: this.url, ...options });
  }

  /** Keeps what is on the disk of a stopped server; the answer puts that back, as a power loss or a backup would. */
  keep(): () => void {
    const kept = temporaryDirectory('nats');
    cpSync(this.#store, kept, { recursive: true });
    return () => {
      rmSync(this.#store, { recursive: true });
      cpSync(kept, this.#store, { recursive: true });
    };
  }

  get #store(): string {
    return join(this.directory, 'js');
  }
}
