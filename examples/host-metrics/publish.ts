// Publishes this machine's figures to Tailrace, four times a second. `node publish.ts`, or through serve.ts.
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Machine } from './proc.ts';

const tickMs = 250;
/** Ticks kept while no server answers: ten minutes. Beyond it the oldest are given up, and that is said. */
const keptMax = 2400;
/** Messages of one request when there is much to send again; a server takes 1,000. */
const batchMax = 500;

interface Message {
  readonly topic: string;
  readonly data: { readonly value: number; readonly tick: number; readonly at: number; readonly run: string };
  readonly producer: string;
  readonly sequence: number;
}

/**
 * One tick is one array of messages. A tick is dropped only when the server has acknowledged it, so a server that is
 * killed loses none; every message has the number `sequence` of its `producer`, so one that is sent twice is stored
 * once.
 */
export class HostPublisher {
  readonly #url: URL;
  /** Names this run: the producer, and what tick numbers belong to. */
  readonly #run = randomBytes(6).toString('hex');
  readonly #machine = new Machine();
  readonly #timer: NodeJS.Timeout;
  #unacked: Message[][] = [];
  #ticks = 0;
  #sequence = 0;
  #sending: Promise<void> | undefined;
  #stopped = false;

  constructor(tailrace: string) {
    if (!existsSync('/proc/stat')) throw new Error(`this example reads /proc, which ${process.platform} does not have`);
    this.#url = new URL('v1/publish', tailrace.endsWith('/') ? tailrace : `${tailrace}/`);
    this.#timer = setInterval(() => this.#tick(), tickMs);
  }

  /** Sends what is left, unless no server answers; resolves to how many ticks were acknowledged, and how many not. */
  async stop(): Promise<{ published: number; unsent: number }> {
    clearInterval(this.#timer);
    this.#stopped = true;
    await this.#sending;
    const unsent = this.#unacked.length;
    return { published: this.#ticks - unsent, unsent };
  }

  #tick(): void {
    const at = Date.now();
    const tick = this.#ticks++;
    const messages = [...this.#machine.read()].map(([figure, value]) => ({
      topic: `host/${hostname()}/${figure}`,
      data: { value, tick, at, run: this.#run },
      producer: this.#run,
      sequence: this.#sequence++,
    }));
    this.#unacked.push(messages);
    if (this.#unacked.length > keptMax) {
      this.#unacked.shift();
      console.error(`no answer for ten minutes: tick ${tick - keptMax} is given up`);
    }
    this.#sending ??= this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    let failures = 0;
    while (this.#unacked.length > 0) {
      const { ticks, messages } = this.#nextBatch();
      const trouble = await this.#send(messages);
      if (trouble === undefined) {
        if (failures > 0) console.log('publishing again');
        failures = 0;
        this.#unacked = this.#unacked.filter(tick => !ticks.has(tick));
        continue;
      }
      if (failures++ === 0) console.log(`${trouble}; ticks are kept until it is back`);
      if (this.#stopped && failures > 5) break;
      await sleep(Math.min(1000, 100 * failures));
    }
    this.#sending = undefined;
  }

  #nextBatch(): { ticks: ReadonlySet<Message[]>; messages: readonly Message[] } {
    const ticks = new Set<Message[]>();
    const messages: Message[] = [];
    for (const tick of this.#unacked) {
      if (messages.length > 0 && messages.length + tick.length > batchMax) break;
      ticks.add(tick);
      messages.push(...tick);
    }
    return { ticks, messages };
  }

  /** Resolves to what went wrong if that may pass. */
  async #send(messages: readonly Message[]): Promise<string | undefined> {
    let response: Response;
    try {
      response = await fetch(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(messages),
        signal: AbortSignal.timeout(10_000),
      });
      const answer = (await response.json()) as { retry?: string; detail?: string };
      if (response.ok) return undefined;
      if (answer.retry === 'later') return `${this.#url.origin}: ${answer.detail}`;
      throw new Refused(`${this.#url} refused: ${answer.detail}`);
    } catch (error) {
      if (error instanceof Refused) throw error;
      return `no answer from ${this.#url.origin}`;
    }
  }
}

class Refused extends Error {}

if (import.meta.main) {
  const publisher = new HostPublisher(process.env.TAILRACE_URL ?? 'http://127.0.0.1:4080');
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => void publisher.stop());
}
