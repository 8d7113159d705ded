import type { ClientRequest, IncomingMessage } from 'node:http';
import { Backoff } from './backoff.ts';
import { CommandError } from './command.ts';
import { describeRefusal, openRequest, type Refusal, readRefusal, Unreachable } from './http.ts';
import { LineSplitter } from './lines.ts';

/** Bytes that may wait for an ack; beyond it `send` waits, and with it whoever reads the input. */
const unackedLimit = 4 * 1024 * 1024;
/** Without a sign of the server for this many ms while lines are unacknowledged, the connection is taken for dead. */
const silenceLimit = 60_000;

export interface PublishTotals {
  readonly accepted: number;
  /** Of these, how many the server had already. */
  readonly duplicates: number;
  /** Of the newest message. */
  readonly cursor: string | undefined;
}

/** The answer to one streaming request, a line at a time (protocol.md §4). */
interface AnswerLine {
  readonly accepted?: number;
  readonly duplicates?: number;
  readonly cursor?: string;
  readonly done?: true;
  readonly error?: Refusal;
}

/**
 * Publishes lines of NDJSON over one streaming request and, when that breaks, goes on over the next with what was not
 * acknowledged. Every line has to carry an id (or producer and sequence), so that none is doubled.
 *
 *     lines ─► unacked ─► request ─ ─► server
 *                 ▲ drops what           │
 *                 └──────── {"accepted":n} lines
 */
export class NdjsonPublisher {
  readonly #url: URL;
  readonly #notice: (text: string) => void;
  readonly #fail: (error: Error) => void;
  /** Lines sent or to be sent, oldest first; `#first` counts those dropped before them. */
  #unacked: string[] = [];
  #unackedBytes = 0;
  #first = 0;
  #duplicates = 0;
  #cursor: string | undefined;
  #running: Promise<void> | undefined;
  #request: ClientRequest | undefined;
  #ending = false;
  #everConnected = false;
  /** The present trouble has been told. */
  #troubled = false;
  #failure: Error | undefined;
  #wake: (() => void)[] = [];
  readonly #backoff = new Backoff();

  /** `fail` is called once when the server will not take a line, or is not there at the first. */
  constructor(url: URL, { notice, fail }: { notice: (text: string) => void; fail: (error: Error) => void }) {
    this.#url = new URL('v1/publish', url);
    this.#notice = notice;
    this.#fail = fail;
  }

  /** Hands lines over; waits while too much is unacknowledged. Throws what the server will never take. */
  async send(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    this.#throwFailure();
    for (const line of lines) {
      this.#unacked.push(line);
      this.#unackedBytes += line.length;
    }
    if (this.#request === undefined) this.#start();
    else this.#write(lines);
    while (this.#unackedBytes > unackedLimit && this.#failure === undefined) await this.#changed();
    this.#throwFailure();
  }

  /** Waits until everything is acknowledged. */
  async end(): Promise<PublishTotals> {
    this.#ending = true;
    this.#request?.end();
    if (this.#unacked.length > 0) this.#start();
    await this.#running;
    this.#throwFailure();
    return { accepted: this.#first, duplicates: this.#duplicates, cursor: this.#cursor };
  }

  #start(): void {
    this.#running ??= this.#run().catch((error: Error) => {
      this.#failure = error;
      this.#fail(error);
      this.#signal();
    });
  }

  /** One request after another for as long as lines are waiting. */
  async #run(): Promise<void> {
    while (this.#unacked.length > 0) {
      const trouble = await this.#attempt();
      if (trouble instanceof Unreachable && trouble.refused && !this.#everConnected) throw trouble;
      // not refused: somebody was there, though perhaps not for long enough to answer
      this.#everConnected = true;
      // a request that broke while idle is no trouble: the next line opens another
      if (trouble === undefined || this.#unacked.length === 0) continue;
      if (!this.#troubled) {
        const what = trouble instanceof Unreachable ? trouble.what : describeRefusal(trouble);
        this.#notice(`${what}; trying again, nothing is lost`);
      }
      this.#troubled = true;
      await this.#backoff.wait(trouble instanceof Unreachable ? undefined : trouble.retryAfter);
    }
    // with no pause since the look at `unacked`, so that no line falls between
    this.#running = undefined;
  }

  /** One request from its first line to its end; resolves to what went wrong if that may pass. */
  async #attempt(): Promise<Refusal | Unreachable | undefined> {
    const start = this.#first;
    const request = await openRequest(this.#url, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson', accept: 'application/x-ndjson, application/problem+json' },
    });
    // a silent request without lines under way is only waiting for input
    request.setTimeout(silenceLimit, () => {
      if (this.#unacked.length > 0) request.destroy(new Error(`no answer for ${silenceLimit / 1000} s`));
    });
    try {
      return await new Promise<Refusal | Unreachable | undefined>((resolve, reject) => {
        let answered = false;
        request.on('error', error => {
          // the answer says more than the write that failed because of it
          if (!answered) resolve(new Unreachable(this.#url, error));
        });
        request.on('response', response => {
          answered = true;
          this.#readAnswer(response, start).then(resolve, reject);
        });
        this.#request = request;
        this.#write(this.#unacked);
        if (this.#ending) request.end();
      });
    } finally {
      this.#request = undefined;
      request.destroy();
    }
  }

  async #readAnswer(response: IncomingMessage, start: number): Promise<Refusal | Unreachable | undefined> {
    if (response.statusCode !== 200) return this.#judge(await readRefusal(response), start);
    const splitter = new LineSplitter();
    response.setEncoding('utf8');
    try {
      for await (const chunk of response) {
        for (const text of splitter.push(chunk as string)) {
          const line = JSON.parse(text) as AnswerLine;
          if (line.accepted !== undefined) this.#acknowledge(start + line.accepted, line);
          if (line.error !== undefined) return this.#judge(line.error, start);
          if (line.done === true) {
            this.#duplicates += line.duplicates ?? 0;
            return undefined;
          }
        }
      }
      return new Unreachable(this.#url, new Error('the answer ended early'));
    } catch (error) {
      if (error instanceof CommandError) throw error;
      return new Unreachable(this.#url, error as Error);
    }
  }

  /** What may pass is returned, what will not is thrown with the line of the input that it concerns. */
  #judge(refusal: Refusal, start: number): Refusal {
    if (refusal.retry === 'later') return refusal;
    const line = refusal.at?.line === undefined ? '' : `line ${start + refusal.at.line}: `;
    throw new CommandError(`${line}${describeRefusal(refusal)}`);
  }

  #acknowledge(accepted: number, { cursor }: AnswerLine): void {
    const dropped = this.#unacked.splice(0, accepted - this.#first);
    for (const line of dropped) this.#unackedBytes -= line.length;
    this.#first += dropped.length;
    if (cursor !== undefined) this.#cursor = cursor;
    if (dropped.length > 0) {
      this.#backoff.reset();
      if (this.#troubled) this.#notice('publishing again');
      this.#troubled = false;
    }
    this.#signal();
  }

  #write(lines: readonly string[]): void {
    if (lines.length > 0 && this.#request?.writableEnded === false) this.#request.write(`${lines.join('\n')}\n`);
  }

  #changed(): Promise<void> {
    return new Promise(resolve => this.#wake.push(resolve));
  }

  #signal(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
