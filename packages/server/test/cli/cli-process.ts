import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../../bin/tailrace.js', import.meta.url));

export interface CliOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Runs the launcher; the Node of the tests by default. */
  readonly node?: string;
}

/** The real `tailrace` command as a child, with what it printed so far. */
export class CliProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #exited: Promise<unknown[]>;
  readonly #changed = new Set<() => void>();

  constructor(args: readonly string[], { env = {}, cwd, node = process.execPath }: CliOptions = {}) {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^TAILRACE_|^NO_COLOR$|^NODE_OPTIONS$/.test(name),
    );
    this.child = spawn(node, [bin, ...args], {
      stdio: 'pipe',
      env: { ...Object.fromEntries(inherited), ...env },
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#exited = once(this.child, 'close');
    this.child.stdin!.on('error', () => {});
    for (const name of ['stdout', 'stderr'] as const) {
      this.child[name]!.setEncoding('utf8').on('data', (chunk: string) => {
        this[name] += chunk;
        for (const check of this.#changed) check();
      });
    }
    this.child.on('close', () => {
      for (const check of this.#changed) check();
    });
  }

  /** Waits until `found` gives something; fails when the process ended before. */
  until<T>(found: () => T | null | undefined | false): Promise<T> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        const value = found();
        if (value) {
          this.#changed.delete(check);
          resolve(value);
        } else if (this.child.stdout!.closed && this.child.stderr!.closed) {
          this.#changed.delete(check);
          reject(new Error(`tailrace ended first\nstdout: ${this.stdout}\nstderr: ${this.stderr}`));
        }
      };
      this.#changed.add(check);
      check();
    });
  }

  /** Waits until standard output has so many whole lines, and returns them. */
  lines(count: number): Promise<string[]> {
    return this.until(() => {
      const lines = this.stdout.split('\n').slice(0, -1);
      return lines.length >= count && lines;
    });
  }

  write(text: string): void {
    this.child.stdin!.write(text);
  }

  end(text = ''): void {
    this.child.stdin!.end(text);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** The exit code, or the signal that ended it. */
  async ended(): Promise<number | NodeJS.Signals> {
    const [code, signal] = (await this.#exited) as [number | null, NodeJS.Signals | null];
    return code ?? signal!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.#exited;
  }
}

export interface CliResult {
  readonly code: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command to its end; `input` is its standard input. */
export async function runCli(
  args: readonly string[],
  { input = '', ...options }: CliOptions & { readonly input?: string } = {},
): Promise<CliResult> {
  await using cli = new CliProcess(args, options);
  cli.end(input);
  const code = await cli.ended();
  return { code, stdout: cli.stdout, stderr: cli.stderr };
}
