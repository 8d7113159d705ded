// The life of a child process: started on its core, heard when it fails, gone when the benchmark goes.
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { spawnPinned } from './pin.ts';

const stopWithin = 10_000;
const complaintLimit = 4096;
const running = new Set<Child>();
process.on('exit', () => {
  for (const pid of [...running].flatMap(child => child.pids())) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // gone before
    }
  }
});

export class Child implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly name: string;
  /** The end of what it wrote to stderr. */
  complaint = '';
  #ended: Promise<unknown>;

  constructor(name: string, core: number, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.name = name;
    this.process = spawnPinned(core, command, args, {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...process.env, ...env },
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.complaint = (this.complaint + text).slice(-complaintLimit);
    });
    this.process.on('error', error => {
      this.complaint += error.message;
    });
    // 'close' instead of 'exit': by then stderr has been read to its end
    this.#ended = once(this.process, 'close').catch(() => undefined);
    running.add(this);
    this.#ended.then(() => running.delete(this));
  }

  get ended(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null || this.process.pid === undefined;
  }

  /** This process and everything below it. */
  pids(): number[] {
    return this.process.pid === undefined ? [] : processTree(this.process.pid);
  }

  /** Waits until `test` holds; fails when the process ends before, or after `within` milliseconds. */
  async ready(test: () => Promise<boolean>, within = 15_000): Promise<void> {
    const deadline = performance.now() + within;
    while (!(await test())) {
      if (this.ended) {
        await this.#ended;
        throw new Error(`${this.name} ended while starting: ${this.complaint.trim() || 'it said nothing'}`);
      }
      if (performance.now() > deadline) throw new Error(`${this.name} was not ready within ${within} ms`);
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  }

  /** One question and its answer over the IPC channel. */
  async ask(question: string, within = 30_000): Promise<void> {
    const answered = once(this.process, 'message', { signal: AbortSignal.timeout(within) });
    this.process.send(question);
    await answered;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.ended) return;
    this.process.kill('SIGTERM');
    const force = setTimeout(() => this.process.kill('SIGKILL'), stopWithin);
    await this.#ended;
    clearTimeout(force);
  }
}

function processTree(root: number): number[] {
  const pids = [root];
  try {
    for (const task of readdirSync(`/proc/${root}/task`)) {
      const children = readFileSync(`/proc/${root}/task/${task}/children`, 'latin1').trim();
      if (children !== '') for (const pid of children.split(' ')) pids.push(...processTree(Number(pid)));
    }
  } catch {
    // ended meanwhile: what is gone has no CPU time and no memory to count
  }
  return pids;
}
