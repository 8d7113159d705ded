import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Child } from '../child.ts';
import { loadCore } from '../pin.ts';
import type { Operations, Reply, Request } from './process.ts';

const script = fileURLToPath(new URL('process.ts', import.meta.url));
const answerWithin = 180_000;

/** The benchmark's side of one load process. Each measurement gets a fresh one. */
export class Load implements AsyncDisposable {
  readonly #child: Child = new Child('load', loadCore, process.execPath, [script]);

  async call<Name extends keyof Operations>(
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
      if (answer === undefined) throw new Error(`the load process died: ${this.#child.complaint}`);
      const reply: Reply = answer[0];
      if ('error' in reply) throw new Error(reply.error);
      return reply.result as Awaited<ReturnType<Operations[Name]>>;
    } finally {
      stop.abort();
      await Promise.allSettled([message, ended]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}
