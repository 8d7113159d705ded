import { Worker } from 'node:worker_threads';
import type { Clock } from '../../clock.ts';
import type { EraseJob } from './erase-job.ts';
import { type Housework, HouseworkLost } from './housework.ts';
import type { IndexJob } from './index-job.ts';
import { type FromThread, type Outcome, outcomeOf, resultOf, type Task, type ToThread } from './messages.ts';
import type { SweepHost, SweepJob, Swept } from './sweep-job.ts';

/** How long the thread waits for more, in ms: a start takes a twentieth of a second, and waiting some megabytes. */
const idleMs = 5_000;

/** Short collections: the threads that help with them have the priority of the process, not that of this one. */
const maxYoungGenerationSizeMb = 6;

interface Running {
  readonly host: SweepHost | undefined;
  readonly done: (outcome: Outcome) => void;
  readonly lost: (error: HouseworkLost) => void;
}

/**
 * Housework in a thread of its own, over the files of this machine: started when there is something to do. A thread that
 * dies leaves temporary files behind, and what it was doing rejects with HouseworkLost.
 */
export class HouseworkThread implements Housework {
  readonly #clock: Clock;
  readonly #running = new Map<number, Running>();
  #worker: Worker | undefined;
  #ending: Promise<unknown> = Promise.resolve();
  #stopIdle: () => void = () => undefined;
  #next = 0;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A start takes the processor from the commits for a tenth of a second: it should not be while there is work, too. */
  prepare(): void {
    if (this.#worker === undefined && !this.#closed) this.#start().unref();
  }

  async writeIndex(job: IndexJob): Promise<void> {
    await this.#run({ kind: 'index', job }, undefined, undefined);
  }

  async sweep(job: SweepJob, host: SweepHost, stop: AbortSignal): Promise<Swept> {
    return (await this.#run({ kind: 'sweep', job }, host, stop)) as Swept;
  }

  async erase(job: EraseJob, host: SweepHost, stop: AbortSignal): Promise<boolean> {
    return (await this.#run({ kind: 'erase', job }, host, stop)) as boolean;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#end();
    await this.#ending;
  }

  async #run(task: Task, host: SweepHost | undefined, stop: AbortSignal | undefined): Promise<unknown> {
    stop?.throwIfAborted();
    const worker = this.#start();
    const id = this.#next++;
    const onStop = (): void => send(worker, { kind: 'stop', id });
    stop?.addEventListener('abort', onStop);
    try {
      const done = new Promise<Outcome>((resolve, reject) =>
        this.#running.set(id, { host, done: resolve, lost: reject }),
      );
      send(worker, { kind: 'begin', id, task });
      return resultOf(await done);
    } finally {
      stop?.removeEventListener('abort', onStop);
      this.#running.delete(id);
      if (this.#running.size === 0) this.#wait();
    }
  }

  #start(): Worker {
    this.#stopIdle();
    if (this.#closed) throw new HouseworkLost('the log is closed');
    if (this.#worker !== undefined) {
      this.#worker.ref();
      return this.#worker;
    }
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      name: 'tailrace housework',
      resourceLimits: { maxYoungGenerationSizeMb },
    });
    worker.on('message', (message: FromThread) => this.#take(worker, message));
    // an error ends the thread
    let cause: unknown;
    worker.on('error', error => {
      cause = error;
    });
    worker.on('exit', code => this.#lost(worker, code, cause));
    this.#worker = worker;
    return worker;
  }

  #wait(): void {
    if (this.#worker === undefined) return;
    // one that only waits does not keep the process alive
    this.#worker.unref();
    this.#stopIdle = this.#clock.after(idleMs, () => this.#end());
  }

  #end(): void {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#stopIdle();
    this.#worker = undefined;
    this.#ending = worker.terminate();
  }

  #lost(worker: Worker, code: number, cause: unknown): void {
    if (this.#worker === worker) this.#worker = undefined;
    else if (this.#worker !== undefined) return;
    const why = cause instanceof Error ? `: ${cause.message}` : ` with ${code}`;
    const error = new HouseworkLost(`the thread that keeps the log in order ended${why}`, { cause });
    for (const { lost } of this.#running.values()) lost(error);
  }

  #take(worker: Worker, message: FromThread): void {
    const running = this.#running.get(message.id);
    if (running === undefined) return;
    if (message.kind === 'done') {
      running.done(message.outcome);
      return;
    }
    const { host } = running;
    const { call, method, argument } = message;
    if (host === undefined) return;
    // the next thread counts its calls from 0 again: it must not get what this one asked for
    const answer = (outcome: Outcome): void => send(worker, { kind: 'answer', call, outcome });
    void outcomeOf(() => ask(host, method, argument)).then(answer);
  }
}

/** To a thread that has ended nothing comes. */
function send(worker: Worker, message: ToThread): void {
  worker.postMessage(message);
}

/** Calls a method of the host by its name: the thread sent what its own interface takes. */
function ask(host: SweepHost, method: keyof SweepHost, argument: unknown): Promise<unknown> {
  return (host[method] as (argument: unknown) => Promise<unknown>)(argument);
}
