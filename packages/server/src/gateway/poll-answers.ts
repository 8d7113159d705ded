import type { ServerResponse } from 'node:http';
import type { Reader } from '../hub/index.ts';
import type { Connection, Gateway } from './gateway.ts';

/** ms between two looks at the waiting polls, as long as there are any. */
const sweepMs = 50;

/** The polls that wait, with one beat for all of them (I8), and how their answers are written. */
export class PollAnswers {
  readonly gateway: Gateway;
  readonly #waiting = new Set<PollWait>();
  #stop: (() => void) | undefined;

  constructor(gateway: Gateway) {
    this.gateway = gateway;
  }

  /** Opens the wait of one request; `end` it when the answer is out. */
  open(res: ServerResponse, wait: number): PollWait {
    const poll = new PollWait(this, res, this.gateway.clock.monotonic() + wait);
    this.#waiting.add(poll);
    this.gateway.connections.add(poll);
    this.gateway.polls++;
    this.#stop ??= this.gateway.clock.every(sweepMs, () => this.#sweep());
    return poll;
  }

  forget(poll: PollWait): void {
    this.#waiting.delete(poll);
    this.gateway.connections.delete(poll);
    this.gateway.polls--;
    if (this.#waiting.size > 0) return;
    this.#stop?.();
    this.#stop = undefined;
  }

  #sweep(): void {
    const now = this.gateway.clock.monotonic();
    for (const poll of this.#waiting) if (now >= poll.until) poll.hurry();
  }
}

/** One poll: ends when its time is over, its client leaves or the server drains. */
export class PollWait implements Connection {
  readonly transport = 'poll';
  readonly until: number;
  /** The reconnect window that a drain told, ms. */
  within: number | undefined;
  readonly #answers: PollAnswers;
  readonly #res: ServerResponse;
  readonly #over = new AbortController();
  readonly #left: () => void;

  constructor(answers: PollAnswers, res: ServerResponse, until: number) {
    this.#answers = answers;
    this.#res = res;
    this.until = until;
    this.#left = () => this.hurry();
    res.on('close', this.#left);
  }

  /** Nothing more is waited for. */
  get over(): boolean {
    return this.#over.signal.aborted || this.#answers.gateway.clock.monotonic() >= this.until;
  }

  get gone(): boolean {
    return this.#res.destroyed;
  }

  hurry(): void {
    this.#over.abort();
  }

  drain(within: number): void {
    this.within = within;
    this.hurry();
  }

  /** Resolves when one of these readers may have something, or the wait is over. */
  async any(readers: readonly Reader[]): Promise<void> {
    if (readers.length === 1) {
      await readers[0]!.wait(this.#over.signal);
      return;
    }
    // the first to wake ends the waits of the others, or they would stay in the index
    const woken = new AbortController();
    const signal = AbortSignal.any([this.#over.signal, woken.signal]);
    await Promise.race(readers.map(reader => reader.wait(signal)));
    woken.abort();
  }

  destroy(): void {
    this.#res.destroy();
  }

  end(): void {
    this.#res.off('close', this.#left);
    this.#answers.forget(this);
  }

  /** Sends the whole answer. */
  send(parts: readonly (string | Buffer)[], headers: readonly string[]): void {
    if (this.gone) return;
    const body = Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part) : part)));
    this.#res.writeHead(200, [
      'Content-Type',
      'application/json',
      'Content-Length',
      String(body.length),
      'Cache-Control',
      'no-store',
      ...(this.within === undefined ? [] : ['Connection', 'close']),
      ...headers,
    ]);
    this.#res.end(body);
  }
}
