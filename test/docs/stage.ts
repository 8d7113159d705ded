import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { expect } from 'vitest';
import { freePort } from '../../packages/server/test/cli/served.ts';
import { repository } from '../../scripts/house/source-files.ts';
import { enginePrograms } from './engine-programs.ts';
import { missingLine } from './output.ts';
import { type Block, values } from './page.ts';
import { Terminal } from './terminal.ts';

/** Ports that a page may name. */
const portsMost = 10;

/** Where the blocks of one page are run: a directory, a server with its log in ./data, and open terminals. */
export class Stage implements AsyncDisposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'tailrace-docs-'));
  readonly #terminals = new Map<string, Terminal>();
  readonly #env: NodeJS.ProcessEnv;
  readonly #serverFlags: string;
  #server: Terminal | undefined;
  #port = 0;
  #lastOutput = '';
  /** Free ports, and those that stand for a port of the page. */
  readonly #freePorts: number[];
  readonly #ports = new Map<string, number>();

  private constructor(serverFlags: string, freePorts: number[]) {
    this.#serverFlags = serverFlags;
    this.#freePorts = freePorts;
    // `npx tailrace` finds the command as it does in the repository
    symlinkSync(join(repository, 'node_modules'), join(this.directory, 'node_modules'));
    // the same for the servers of the engines, wherever they are here
    mkdirSync(join(this.directory, '.bin'));
    for (const [name, text] of enginePrograms())
      writeFileSync(join(this.directory, '.bin', name), text, { mode: 0o755 });
    const inherited = Object.entries(process.env).filter(([name]) => !/^TAILRACE_|^NODE_OPTIONS$|^npm_/i.test(name));
    this.#env = {
      ...Object.fromEntries(inherited),
      NO_COLOR: '1',
      PATH: `${join(this.directory, '.bin')}${delimiter}${process.env.PATH ?? ''}`,
      npm_config_update_notifier: 'false',
    };
  }

  static async open(serverFlags = ''): Promise<Stage> {
    const stage = new Stage(serverFlags, await Promise.all(Array.from({ length: portsMost }, freePort)));
    try {
      await stage.#startServer();
    } catch (error) {
      await stage[Symbol.asyncDispose]();
      throw error;
    }
    return stage;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Opens a shell with this command on the stage. */
  run(command: string): Terminal {
    // pages name the default port, tests take a free one
    return new Terminal(command.replaceAll('127.0.0.1:4080', `127.0.0.1:${this.#port}`), {
      cwd: this.directory,
      env: { ...this.#env, TAILRACE_URL: this.url },
    });
  }

  /** Ports of the page as they are here. */
  #withPorts(text: string): string {
    return text.replace(
      /(127\.0\.0\.1:|--port )(\d{4,5})\b/g,
      (_, before: string, port: string) => `${before}${this.#portFor(port)}`,
    );
  }

  #portFor(port: string): number {
    if (port === '4080') return this.#port;
    const own = this.#ports.get(port) ?? this.#freePorts.pop();
    if (own === undefined) throw new Error(`port ${port} is one more than a page may have`);
    this.#ports.set(port, own);
    return own;
  }

  /** Does what the block says, and checks what its markers promise. */
  async play(block: Block): Promise<void> {
    const text = this.#withPorts(block.text);
    for (const name of values(block, 'file')) writeFileSync(join(this.directory, name), `${text}\n`);
    for (const name of values(block, 'output')) await this.#checkOutput(block, name);
    if (block.language === 'sh') await this.#playShell(block);
  }

  async #playShell(block: Block): Promise<void> {
    for (const name of values(block, 'stop')) await this.#stopTerminal(name);
    const [server] = values(block, 'server');
    if (server !== undefined) await this.#stopServer(server === 'stopped' ? 'SIGTERM' : 'SIGKILL');
    if (server === 'restarted') await this.#startServer();
    try {
      await this.#runShell(block);
    } finally {
      if (server === 'stopped' || server === 'killed') await this.#startServer();
    }
  }

  async #runShell(block: Block): Promise<void> {
    const shell = this.run(this.#withPorts(block.text));
    const [terminal] = values(block, 'terminal');
    if (terminal === undefined) {
      const code = await shell.ended();
      this.#lastOutput = shell.output;
      expect({ code, output: shell.output }).toMatchObject({ code: Number(values(block, 'exit')[0] ?? 0) });
      for (const text of values(block, 'shows')) expect(shell.output).toContain(text);
    } else {
      this.#terminals.set(terminal, shell);
      for (const text of values(block, 'shows')) await shell.until(output => output.includes(text), text);
    }
  }

  async #checkOutput(block: Block, terminal: string): Promise<void> {
    if (terminal === '') {
      expect({ missing: missingLine(block.text, this.#lastOutput), output: this.#lastOutput }).toMatchObject({
        missing: undefined,
      });
      return;
    }
    await this.#terminal(terminal).until(output => missingLine(block.text, output) === undefined, block.text);
  }

  async #stopTerminal(name: string): Promise<void> {
    const terminal = this.#terminal(name);
    terminal.signal('SIGINT');
    await terminal.ended();
    this.#terminals.delete(name);
  }

  #terminal(name: string): Terminal {
    const terminal = this.#terminals.get(name);
    if (terminal === undefined) throw new Error(`no terminal "${name}" is open here`);
    return terminal;
  }

  async #startServer(): Promise<void> {
    this.#server = new Terminal(
      `exec node ${repository}packages/server/bin/tailrace.js serve --port ${this.#port} ${this.#serverFlags}`,
      { cwd: this.directory, env: this.#env },
    );
    const port = await this.#server.until(output => /http:\/\/127\.0\.0\.1:(\d+)\//.exec(output)?.[1], 'its address');
    this.#port = Number(port);
  }

  /** Stops the server for good, as an operator would. */
  stop(): Promise<void> {
    return this.#stopServer('SIGTERM');
  }

  async #stopServer(signal: NodeJS.Signals): Promise<void> {
    const server = this.#server!;
    server.signal(signal);
    expect(await server.ended()).toBe(signal === 'SIGTERM' ? 0 : signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const terminal of this.#terminals.values()) await terminal[Symbol.asyncDispose]();
    await this.#server?.[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
