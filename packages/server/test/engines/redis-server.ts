import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { freePort } from '../cli/served.ts';
import { redisProgram } from './redis-program.ts';
import { ServerProcess, temporaryDirectory } from './server-process.ts';

/** A real Redis server on a port and in a directory of its own. */
export class RedisServer extends ServerProcess {
  readonly port: number;
  readonly directory: string;
  readonly #more: readonly string[];
  readonly #env: Readonly<Record<string, string>>;

  private constructor(port: number, directory: string, more: readonly string[], env = {}) {
    super();
    this.port = port;
    this.directory = directory;
    this.#more = more;
    this.#env = env;
  }

  /** `more`: options of redis-server beyond those that keep every write. */
  static start(...more: string[]): Promise<RedisServer> {
    return RedisServer.startIn({}, ...more);
  }

  /** The same with more variables in its environment. */
  static async startIn(env: Readonly<Record<string, string>>, ...more: string[]): Promise<RedisServer> {
    const directory = temporaryDirectory('redis');
    const server = new RedisServer(await freePort(), directory, more, env);
    await server.start();
    return server;
  }

  /** A Sentinel that watches the primary on `port`, which it calls `main`, and promotes a replica within a second or two. */
  static async sentinel(port: number): Promise<RedisServer> {
    const directory = temporaryDirectory('redis');
    const file = join(directory, 'sentinel.conf');
    writeFileSync(
      file,
      [
        `sentinel monitor main 127.0.0.1 ${port} 1`,
        'sentinel down-after-milliseconds main 500',
        'sentinel failover-timeout main 3000',
      ].join('\n'),
    );
    const server = new RedisServer(await freePort(), directory, []);
    await server.#spawn([file, '--sentinel', '--port', String(server.port), '--bind', '127.0.0.1'], '+monitor');
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts it (again), `more`: with other options than before; resolves when it answers. */
  start(...more: readonly string[]): Promise<void> {
    return this.#spawn(
      [
        ...['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.directory, '--save', ''],
        ...['--appendonly', 'yes', '--appendfsync', 'always', '--daemonize', 'no'],
        ...['--repl-diskless-sync-delay', '0'],
        ...this.#more,
        ...more,
      ],
      'Ready to accept connections',
    );
  }

  async #spawn(args: readonly string[], isThere: string): Promise<void> {
    const child = spawn(redisProgram!, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      argv0: 'redis-server',
      env: { ...process.env, ...this.#env },
    });
    this.process = child;
    let said = '';
    for await (const chunk of child.stdout) {
      said += String(chunk);
      if (said.includes(isThere)) {
        child.stdout.on('error', () => {});
        child.stdout.resume();
        return;
      }
    }
    throw new Error(`redis-server did not start:\n${said}`);
  }

  /** A client of the test's own. */
  client(): Redis {
    // the server goes away while tests want it to
    return new Redis(this.url).on('error', () => {});
  }
}
