import type { ServerResponse } from 'node:http';
import type { HeaderList } from '../../admission/index.ts';
import { envelopeMaxBytes, type Hub, writeEnvelope } from '../../hub/index.ts';
import type { LogRecord } from '../../log/index.ts';
import type { Answers } from '../answers.ts';
import type { Bodies, Swept } from '../bodies.ts';
import { answered, type Call } from '../route.ts';

export interface EnvelopeLinesOptions {
  readonly hub: Hub;
  readonly answers: Answers;
  readonly bodies: Bodies;
  /** ms after which a reader that takes nothing is cut. */
  readonly stallMax: number;
}

/** Bytes of records to read and write at a time. */
export const stretchBytes: number = 256 * 1024;

/** ms until a client hears something, be the first match ever so far. */
const firstByteMs = 5000;

/** Answers with the envelopes that `write` writes; what it resolves to is in the last line. A HEAD has no lines. */
export async function answerLines(
  { req, res, cors }: Call,
  options: EnvelopeLinesOptions,
  write: (out: EnvelopeLines) => Promise<object>,
): Promise<typeof answered> {
  const out = new EnvelopeLines(res, cors, options);
  try {
    if (req.method === 'HEAD') {
      out.head();
      res.end();
    } else out.done({ done: true, ...(await write(out)) });
  } catch (error) {
    out.fail(error);
  } finally {
    out.forget();
  }
  return answered;
}

/** The lines of one answer that reads messages: at most one stretch of them is unfinished at a time. */
export class EnvelopeLines implements Swept {
  readonly #res: ServerResponse;
  readonly #cors: HeaderList;
  readonly #o: EnvelopeLinesOptions;
  readonly #began: number;
  #writing = 0;

  constructor(res: ServerResponse, cors: HeaderList, options: EnvelopeLinesOptions) {
    this.#res = res;
    this.#cors = cors;
    this.#o = options;
    this.#began = options.hub.clock.monotonic();
    options.bodies.add(this);
  }

  /** The client went away. */
  get gone(): boolean {
    return this.#res.destroyed;
  }

  head(): void {
    if (this.#res.headersSent) return;
    const headers = [
      'Content-Type',
      'application/x-ndjson',
      'Cache-Control',
      'private',
      'Vary',
      'Authorization, Cookie, Origin',
      'X-Accel-Buffering',
      'no',
    ];
    if (this.#o.answers.closing) headers.push('Connection', 'close');
    this.#res.writeHead(200, [...headers, ...this.#cors]);
  }

  /** Resolves once the kernel has taken it, or the client is gone. */
  write(records: readonly LogRecord[]): Promise<void> {
    let size = 0;
    for (const record of records) size += envelopeMaxBytes(record) + 1;
    const bytes = Buffer.allocUnsafe(size);
    let at = 0;
    for (const record of records) {
      at = writeEnvelope(bytes, at, record, true);
      bytes[at++] = 0x0a;
    }
    this.head();
    this.#writing = this.#o.hub.clock.monotonic();
    return new Promise(resolve => {
      const done = (): void => {
        this.#writing = 0;
        this.#res.off('close', done);
        resolve();
      };
      this.#res.on('close', done);
      this.#res.write(bytes.subarray(0, at), done);
    });
  }

  done(last: object): void {
    this.head();
    this.#res.end(`${JSON.stringify(last)}\n`);
  }

  /** Before the head it is a problem like any other, after it the last line. */
  fail(cause: unknown): void {
    if (!this.#res.headersSent) {
      this.#o.answers.problem(this.#res, cause, this.#cors);
      return;
    }
    this.#res.end(`${JSON.stringify({ error: this.#o.answers.asError(cause, this.#res.req).toProblem() })}\n`);
  }

  forget(): void {
    this.#o.bodies.delete(this);
  }

  sweep(): boolean {
    if (this.gone) return false;
    const now = this.#o.hub.clock.monotonic();
    if (!this.#res.headersSent && now - this.#began > firstByteMs) {
      this.head();
      this.#res.flushHeaders();
    }
    if (this.#writing !== 0 && now - this.#writing > this.#o.stallMax) this.#res.destroy();
    return true;
  }
}
