/** Header names and values in turn, as `res.writeHead` takes them. */
export type HeaderList = readonly string[];

const none: HeaderList = Object.freeze([]);

/** Headers that belong on every answer to an allowed origin (protocol.md §9); none without one. */
export function corsHeaders(allowOrigin: string | undefined): HeaderList {
  if (allowOrigin === undefined) return none;
  return [
    'Access-Control-Allow-Origin',
    allowOrigin,
    'Vary',
    'Origin',
    'Access-Control-Expose-Headers',
    'Retry-After, Tailrace-Cursor',
  ];
}

/** The same as lines of a response head, each with its CRLF, for answers written to a bare socket. */
export function corsLines(allowOrigin: string | undefined): string {
  const headers = corsHeaders(allowOrigin);
  let lines = '';
  for (let i = 0; i < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return lines;
}

/** What a preflight asks for, as its headers came. */
export interface PreflightRequest {
  /** Methods the path takes, such as `GET, HEAD`. */
  readonly methods: string;
  readonly requestHeaders: string | undefined;
  readonly privateNetwork: string | undefined;
}

/**
 * Headers of the 204 that answers `OPTIONS` of an allowed origin. The header names asked for are granted as they are:
 * who may talk to the server at all may send any header, and `Authorization` is not covered by `*`.
 */
export function preflightHeaders(allowOrigin: string | undefined, request: PreflightRequest): HeaderList {
  const headers = [
    'Allow',
    request.methods,
    'Access-Control-Allow-Methods',
    request.methods,
    'Access-Control-Max-Age',
    '7200',
  ];
  if (allowOrigin === undefined) return headers;
  const names = (request.requestHeaders ?? '')
    .split(',', 64)
    .map(name => name.trim())
    .filter(name => /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/.test(name));
  if (names.length > 0) headers.push('Access-Control-Allow-Headers', names.join(', '));
  if (request.privateNetwork === 'true') headers.push('Access-Control-Allow-Private-Network', 'true');
  headers.push('Access-Control-Allow-Origin', allowOrigin);
  headers.push('Vary', 'Origin, Access-Control-Request-Headers');
  return headers;
}
