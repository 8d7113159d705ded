import { once } from 'node:events';
import { type ClientRequest, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import type { Problem } from '@tailrace/protocol';
import { CommandError } from './command.ts';

/** Opens a request on a connection of its own; the body is the caller's to write. */
export async function openRequest(url: URL, options: RequestOptions): Promise<ClientRequest> {
  // https is loaded only when it is needed: TLS costs a client 10 ms of start
  const request = url.protocol === 'https:' ? (await import('node:https')).request : httpRequest;
  return request(url, { agent: false, ...options });
}

/** Sends a request with its whole body and waits for the head of the answer. Throws `Unreachable`. */
export async function send(
  url: URL,
  { body, ...options }: RequestOptions & { readonly body?: string },
): Promise<IncomingMessage> {
  const request = await openRequest(url, options);
  request.end(body);
  try {
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return response;
  } catch (cause) {
    throw new Unreachable(url, cause as Error);
  }
}

/** No answer came: the server is not there, or the connection broke. */
export class Unreachable extends CommandError {
  /** What happened, without advice. */
  readonly what: string;
  /** Nothing listens there: nothing was sent. */
  readonly refused: boolean;

  constructor(url: URL, cause: Error) {
    const { code } = cause as NodeJS.ErrnoException;
    const refused = code === 'ECONNREFUSED' || code === 'ENOTFOUND';
    const what = refused
      ? `no server answers at ${url.origin}`
      : `the connection to ${url.origin} ${howItBroke(cause)}`;
    super(refused ? `${what}; start one with: tailrace serve` : what, { cause });
    this.what = what;
    this.refused = refused;
  }
}

/** Node says "aborted", "socket hang up" or "read ECONNRESET" when the other side went away. */
export function howItBroke(error: Error): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === 'ECONNRESET' || code === 'EPIPE' ? 'was closed' : `failed: ${message || code}`;
}

/** What the server says it could not do. */
export type Refusal = Pick<
  Problem,
  'code' | 'status' | 'detail' | 'retry' | 'retryAfter' | 'outcome' | 'at' | 'current'
>;

/** Reads the problem of an answer that is no success, also from a proxy that does not speak problem JSON. */
export async function readRefusal(response: IncomingMessage): Promise<Refusal> {
  const text = await readText(response, 65_536).catch(() => '');
  const status = response.statusCode ?? 500;
  const seconds = Number(response.headers['retry-after'] ?? Number.NaN);
  const retryAfter = Number.isFinite(seconds) ? { retryAfter: seconds * 1000 } : {};
  try {
    const problem = JSON.parse(text) as Refusal | null;
    if (typeof problem?.code === 'string' && typeof problem.retry === 'string') return { ...retryAfter, ...problem };
  } catch {
    // not ours: what the status says must do
  }
  const later = status === 408 || status === 429 || status >= 500;
  return {
    code: 'internal',
    status,
    detail: `${status} ${response.statusMessage ?? ''}`.trim(),
    retry: later ? 'later' : 'never',
    ...(later ? { outcome: 'unknown' } : {}),
    ...retryAfter,
  };
}

/** `detail (code)`, as people should read it. */
export function describeRefusal({ code, detail }: Refusal): string {
  return `${detail} (${code})`;
}

/** A body of at most `limit` bytes as text. */
export async function readText(response: IncomingMessage, limit: number): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) {
    text += chunk as string;
    if (text.length > limit) throw new CommandError(`the answer is longer than ${limit} bytes`);
  }
  return text;
}
