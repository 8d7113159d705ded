import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CliProcess } from './cli-process.ts';

/** `tailrace serve` on a directory of its own, which can be killed and started again on the same port. */
export class Served implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'tailrace-cli-'));
  readonly port: number;
  process!: CliProcess;
  readonly #flags: readonly string[];

  private constructor(port: number, flags: readonly string[]) {
    this.port = port;
    this.#flags = flags;
  }

  static async start(flags: readonly string[] = []): Promise<Served> {
    const served = new Served(await freePort(), flags);
    await served.startAgain();
    return served;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get data(): string {
    return join(this.directory, 'data');
  }

  get env(): Record<string, string> {
    return { TAILRACE_URL: this.url };
  }

  async startAgain(more: readonly string[] = []): Promise<void> {
    const flags = ['--port', String(this.port), '--data', this.data, ...this.#flags, ...more];
    this.process = new CliProcess(['serve', ...flags]);
    const { process } = this;
    await process.until(() => process.stdout.includes(`:${this.port}/`));
  }

  async kill(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    this.process.kill(signal);
    return this.process.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/**
 * A port that was free a moment ago, for servers that come back on the same one. Below the range from which the kernel
 * takes ports for clients and for `listen(0)`: while the server is away, nobody else may get it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 18_000);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer().on('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
