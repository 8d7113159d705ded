import type { IncomingMessage, ServerResponse } from 'node:http';
import { type TailraceError, toTailraceError } from '@tailrace/protocol';
import type { HeaderList } from '../admission/index.ts';

/** Members that some errors carry beside those of a problem, such as `accepted`. */
export type ProblemExtras = Readonly<Record<string, unknown>>;

/** Writes whole answers: JSON and problems (protocol.md §8), with one `writeHead` and one `end`. */
export class Answers {
  /** While the server drains every answer closes its connection. */
  closing = false;
  readonly #onFault: (error: unknown, req: IncomingMessage) => void;

  constructor(onFault: (error: unknown, req: IncomingMessage) => void) {
    this.#onFault = onFault;
  }

  /** `text` must be ASCII: its length is its Content-Length. Hot. */
  json(res: ServerResponse, status: number, text: string, cors: HeaderList): void {
    const headers = ['Content-Type', 'application/json', 'Content-Length', String(text.length)];
    if (cors.length > 0) headers.push(...cors);
    if (this.closing) headers.push('Connection', 'close');
    res.writeHead(status, headers);
    res.end(text, 'latin1');
  }

  /** The error as problem JSON; what is not a TailraceError goes to the server's log and is told as `internal`. */
  problem(res: ServerResponse, cause: unknown, cors: HeaderList, more: HeaderList = [], extras?: ProblemExtras): void {
    const error = this.asError(cause, res.req);
    if (res.headersSent || res.destroyed) {
      res.destroy();
      return;
    }
    const body = problemBody(error, extras);
    const headers = [...problemHeaders(error, body), ...cors, ...more];
    if (this.closing) headers.push('Connection', 'close');
    res.writeHead(error.status, headers);
    res.end(body);
  }

  /** Any thrown value as an error for the client; faults of ours are logged. */
  asError(cause: unknown, req: IncomingMessage): TailraceError {
    const error = toTailraceError(cause);
    if (error.code === 'internal') this.#onFault(error.cause ?? error, req);
    return error;
  }
}

export function problemBody(error: TailraceError, extras?: ProblemExtras): string {
  const problem = error.toProblem();
  return JSON.stringify(extras === undefined ? problem : { ...problem, ...extras });
}

export function problemHeaders(error: TailraceError, body: string): string[] {
  const headers = [
    'Content-Type',
    'application/problem+json',
    'Content-Length',
    String(Buffer.byteLength(body)),
    'Cache-Control',
    'no-store',
  ];
  if (error.retryAfter !== undefined)
    headers.push('Retry-After', String(Math.max(1, Math.ceil(error.retryAfter / 1000))));
  return headers;
}
