import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

/** How long something may take to show up; a deadline, not a pause. */
const patienceMs = 60_000;

/** A command that runs in a shell, with what it printed so far on both of its outputs. */
export class Terminal implements AsyncDisposable {
  output = '';
  readonly #child: ChildProcess;
  readonly #command: string;
  readonly #exited: Promise<unknown[]>;
  #changed = (): void => {};

  constructor(command: string, options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }) {
    this.#command = command;
    // a process group of its own, so that Ctrl-C reaches all that it started
    this.#child = spawn('bash', ['-euo', 'pipefail', '-c', command], {
      ...options,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#exited = once(this.#child, 'close');
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        this.output += chunk;
        this.#changed();
      });
    }
  }

  /** Waits until `found` gives something. */
  until<T>(found: (output: string) => T | undefined | false | null, what: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        clearTimeout(deadline);
        this.#changed = () => {};
        settle();
      };
      const fail = (why: string): void =>
        finish(() => reject(new Error(`${why} without ${what}\n$ ${this.#command}\n${this.output}`)));
      const deadline = setTimeout(() => fail(`${patienceMs / 1000} s passed`), patienceMs);
      this.#changed = () => {
        const value = found(this.output);
        if (value !== undefined && value !== false && value !== null) finish(() => resolve(value));
      };
      void this.#exited.then(() => {
        this.#changed();
        fail('it ended');
      });
      this.#changed();
    });
  }

  signal(name: NodeJS.Signals): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) process.kill(-this.#child.pid!, name);
  }

  /** Its exit code, or the signal that ended it. */
  async ended(): Promise<number | NodeJS.Signals> {
    const deadline = setTimeout(() => this.signal('SIGKILL'), patienceMs);
    const [code, signal] = (await this.#exited) as [number | null, NodeJS.Signals | null];
    clearTimeout(deadline);
    return code ?? signal!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL');
    await this.#exited;
  }
}
