import type { IncomingMessage } from 'node:http';
import { TailraceError } from '@tailrace/protocol';

const publishPath = /^\/v1\/(?:publish(?:\?|$)|topics\/)/;

/** What node:http lets pass and this server does not. */
export function judgeMessage(req: IncomingMessage): TailraceError | undefined {
  if (req.httpVersion === '1.1' && req.headers.host === undefined)
    return new TailraceError('bad_request', 'the request has no Host header, which HTTP/1.1 requires');
  // node:http takes the first, a proxy in front perhaps the last
  if (hostCount(req) > 1) return new TailraceError('bad_request', 'the request has two Hosts');
  if (req.httpVersion !== '1.1' && req.httpVersion !== '1.0')
    return new TailraceError('bad_request', `HTTP/${req.httpVersion} is not spoken here: use HTTP/1.1`);
  const coding = req.headers['transfer-encoding'];
  // RFC 9112 §6.1: its framing is faulty, since whoever passed it on may have seen another body
  if (coding !== undefined && req.httpVersion === '1.0')
    return new TailraceError('bad_request', 'HTTP/1.0 has no Transfer-Encoding: send Content-Length, or use HTTP/1.1');
  if (coding !== undefined && coding.toLowerCase() !== 'chunked')
    return new TailraceError(
      'bad_request',
      `Transfer-Encoding ${JSON.stringify(coding)}: only "chunked" is understood`,
    );
  const { expect } = req.headers;
  if (expect !== undefined && expect.toLowerCase() !== '100-continue')
    return new TailraceError('bad_request', `Expect ${JSON.stringify(expect)}: only "100-continue" is understood`);
  return undefined;
}

/** What to say about bytes that are no request. */
export function judgeBroken(error: NodeJS.ErrnoException, headerMax: number): TailraceError {
  if (error.code === 'HPE_HEADER_OVERFLOW')
    return new TailraceError(
      'headers_too_large',
      `the request head exceeds limits.header (${headerMax} bytes), or has too many lines`,
    );
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return headTooSlow();
  return new TailraceError('bad_request', `not a valid HTTP/1.1 request: ${error.message}`);
}

export function headTooSlow(): TailraceError {
  return new TailraceError('request_timeout', 'the request head did not arrive within header.timeout');
}

/** What to say about bytes that are not the body that the head of the request announced. */
export function judgeBrokenBody(error: NodeJS.ErrnoException, { url = '' }: IncomingMessage): TailraceError {
  const publishes = publishPath.test(url);
  return new TailraceError(
    'bad_request',
    `the request body is broken: ${error.message}${publishes ? '. Lines of NDJSON that came whole before are kept, nothing else was published' : ''}`,
  );
}

function hostCount(req: IncomingMessage): number {
  const { rawHeaders } = req;
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]!.length === 4 && rawHeaders[i]!.toLowerCase() === 'host') count++;
  return count;
}
