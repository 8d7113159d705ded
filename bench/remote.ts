// A child process that does one operation after another for the benchmark that started it: its remote control, and its
// own side.
import { once } from 'node:events';
import { Child } from './child.ts';

interface Request {
  operation: string;
  job: unknown;
}

type Reply = { result: unknown } | { error: string };

/** What can be asked of a process: name → job → result. */
export type OperationsOf<Operations> = { [Name in keyof Operations]: (job: never) => Promise<unknown> };

const answerWithin = 180_000;

/** The benchmark's side. Each measurement gets a fresh process. */
export class Remote<Operations extends OperationsOf<Operations>> implements AsyncDisposable {
  readonly #name: string;
  readonly #child: Child;

  constructor(name: string, core: number, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#name = name;
    this.#child = new Child(name, core, process.execPath, args, env);
  }

  async call<Name extends keyof Operations & string>(
    operation: Name,
    job: Parameters<Operations[Name]>[0],
    within: number = answerWithin,
  ): Promise<Awaited<ReturnType<Operations[Name]>>> {
    const { process: child } = this.#child;
    const stop = new AbortController();
    const message = once(child, 'message', {
      signal: AbortSignal.any([stop.signal, AbortSignal.timeout(within)]),
    });
    const ended = once(child, 'close', { signal: stop.signal });
    try {
      child.send({ operation, job } satisfies Request);
      const answer = await Promise.race([message, ended.then(() => undefined)]);
      if (answer === undefined) throw new Error(`the ${this.#name} process died: ${this.#child.complaint}`);
      const reply: Reply = answer[0];
      if ('error' in reply) throw new Error(reply.error);
      return reply.result as Awaited<ReturnType<Operations[Name]>>;
    } finally {
      stop.abort();
      await Promise.allSettled([message, ended]);
    }
  }

  /** Ends it in the middle of whatever it does. */
  async kill(): Promise<void> {
    this.#child.process.kill('SIGKILL');
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

/** The child's side: answers what it is asked. */
export function serve<Operations extends OperationsOf<Operations>>(operations: Operations): void {
  process.on('message', async ({ operation, job }: Request) => {
    let reply: Reply;
    try {
      // what `call` sent is what the operation takes
      reply = { result: await operations[operation as keyof Operations](job as never) };
    } catch (error) {
      reply = { error: error instanceof Error ? error.message : String(error) };
    }
    process.send?.(reply);
  });
}
