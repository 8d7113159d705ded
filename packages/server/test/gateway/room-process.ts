import { type ChildProcess, fork } from 'node:child_process';

export type RoomTask =
  | { readonly type: 'publish'; readonly count: number; readonly bytes: number; readonly topics: number }
  | { readonly type: 'state' }
  | { readonly type: 'close' };

export interface RoomState {
  readonly memory: Readonly<Record<'rss' | 'heapUsed' | 'external' | 'arrayBuffers' | 'peak', number>>;
  /** Publishes that the brake refused. */
  readonly overloaded: number;
  readonly resources: Readonly<Record<string, number>>;
  /** Open file descriptors; undefined where the system does not tell. */
  readonly descriptors: number | undefined;
  /** Timers of the whole process, Node's own and those that do not keep it alive included. */
  readonly timers: number;
  /** Everything that holds something for a connection. */
  readonly sizes: Readonly<Record<string, number>>;
  readonly head: number;
  readonly hotBase: number;
  readonly faults: readonly string[];
  readonly cut: Readonly<Record<string, number>>;
}

/** Rooms in a process of their own, over a log on disk with a hot tail of 8 MiB. */
export class RoomProcess {
  readonly #child: ChildProcess;
  #answer: { resolve(value: never): void; reject(error: Error): void } | undefined;
  port = 0;

  private constructor() {
    // V8's young generation at its full size from the beginning: growing to it, at some time, looks like a leak of 50 MiB
    const youngGeneration = ['--min-semi-space-size=16', '--max-semi-space-size=16'];
    // queryObjects, which counts timers, warns that it is experimental
    const execArgv = ['--expose-gc', '--disable-warning=ExperimentalWarning', ...youngGeneration];
    this.#child = fork(new URL('./room-child.ts', import.meta.url), { execArgv });
    this.#child.on('message', (message: { port?: number; answer?: never; error?: string }) => {
      if (message.port !== undefined) this.port = message.port;
      if (message.error !== undefined) this.#answer?.reject(new Error(message.error));
      else this.#answer?.resolve(message.answer as never);
    });
    this.#child.on('exit', code => this.#answer?.reject(new Error(`the server ended with ${code}`)));
  }

  static async open(): Promise<RoomProcess> {
    const room = new RoomProcess();
    await room.#next();
    return room;
  }

  #next<T>(): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
    });
  }

  async publish(count: number, bytes: number, topics: number): Promise<void> {
    const task: RoomTask = { type: 'publish', count, bytes, topics };
    this.#child.send(task);
    await this.#next();
  }

  state(): Promise<RoomState> {
    this.#child.send({ type: 'state' } satisfies RoomTask);
    return this.#next();
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = new Promise(resolve => this.#child.once('exit', resolve));
    this.#answer = undefined;
    this.#child.send({ type: 'close' } satisfies RoomTask);
    await exited;
  }
}
