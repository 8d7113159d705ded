import { hash } from 'node:crypto';

/** The head of the request that asks for a WebSocket. */
export interface HandshakeRequest {
  readonly method: string;
  /** As `1.1`. */
  readonly httpVersion: string;
  /**
   * The value of a header by its lower-case name, undefined when it is absent. A header sent more than once is to be
   * joined by `, ` as node:http does: that makes a repeated key or version invalid here.
   */
  header(name: string): string | undefined;
}

export interface HandshakeAccepted<P extends string> {
  readonly ok: true;
  /** The whole response head with its empty line: frames follow it. */
  readonly head: string;
  /** The subprotocol spoken from here on. */
  readonly protocol: P;
}

export interface HandshakeRefused {
  readonly ok: false;
  readonly status: 400 | 405 | 426;
  /** A code of the protocol's error table. */
  readonly code: 'bad_request' | 'method_not_allowed' | 'unsupported' | 'upgrade_required';
  readonly detail: string;
  /** Headers that the response has to carry. */
  readonly headers: Readonly<Record<string, string>>;
}

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

// 22 digits carry 132 bits: the four to spare are zero in what an encoder writes, so that each key has one text
const SIXTEEN_BYTES = /^[A-Za-z0-9+/]{21}[AQgw]==$/;
const UPGRADE_TOKEN = /(?:^|,)[ \t]*upgrade[ \t]*(?:,|$)/i;
const WEBSOCKET_TOKEN = /(?:^|,)[ \t]*websocket[ \t]*(?:,|$)/i;
// one expression from end to end: trimming first would take quadratic time on a run of blanks
const TOKEN = /^[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*$/;

/**
 * Judges an opening handshake (RFC 6455 §4.2.1) and writes the answer (§4.2.2).
 * `supported`: the subprotocols of this server. The first one the client offers that is among them is chosen; a client
 * that offers none speaks `supported[0]` and is not told so, since it may not get an answer it did not ask for.
 * Extensions that are offered are declined by silence (§9.1).
 */
export function handshake<P extends string>(
  request: HandshakeRequest,
  supported: readonly [P, ...P[]],
): HandshakeAccepted<P> | HandshakeRefused {
  const refused = judge(request);
  if (refused !== null) return refused;
  const key = request.header('sec-websocket-key');
  if (key === undefined || !SIXTEEN_BYTES.test(key)) {
    return badRequest('Sec-WebSocket-Key must be the base64 text of 16 bytes, once');
  }

  const offer = request.header('sec-websocket-protocol');
  if (offer === undefined) return { ok: true, head: responseHead(key, null), protocol: supported[0] };
  const offered = parseOffer(offer);
  if (offered === null) return badRequest('Sec-WebSocket-Protocol must be a list of different tokens');
  const protocol = choose(offered, supported);
  if (protocol === undefined) {
    return refuse(400, 'unsupported', `none of the offered subprotocols is supported: offer ${supported.join(' or ')}`);
  }
  return { ok: true, head: responseHead(key, protocol), protocol };
}

/** `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2, step 5.4). */
export function acceptKey(key: string): string {
  return hash('sha1', key + GUID, 'base64');
}

function judge(request: HandshakeRequest): HandshakeRefused | null {
  if (request.method !== 'GET') {
    return refuse(405, 'method_not_allowed', 'a WebSocket begins with GET', { Allow: 'GET' });
  }
  // later versions of HTTP have no Upgrade
  if (!/^1\.[1-9]\d*$/.test(request.httpVersion)) {
    return badRequest(`a WebSocket needs HTTP/1.1, this request came as HTTP/${request.httpVersion}${PROXY}`);
  }
  if (!WEBSOCKET_TOKEN.test(request.header('upgrade') ?? '')) {
    return badRequest(`this path speaks WebSocket: Upgrade: websocket is missing${PROXY}`);
  }
  if (!UPGRADE_TOKEN.test(request.header('connection') ?? '')) {
    return badRequest(`Connection: Upgrade is missing${PROXY}`);
  }
  // A body would come before the first frame, and be taken for one.
  if (request.header('transfer-encoding') !== undefined || (request.header('content-length') ?? '0') !== '0') {
    return badRequest('a WebSocket handshake has no body');
  }
  if (request.header('sec-websocket-version') !== '13') {
    return refuse(426, 'upgrade_required', 'Sec-WebSocket-Version must be 13', {
      'Sec-WebSocket-Version': '13',
      // a 426 has to name the protocol to upgrade to (RFC 9110 §15.5.22)
      Connection: 'Upgrade',
      Upgrade: 'websocket',
    });
  }
  return null;
}

const PROXY = ' (a proxy in front has to pass the upgrade on)';

/** The offered subprotocols in order of preference, or null: §4.1 wants one or more tokens, all different. */
function parseOffer(offer: string): string[] | null {
  const offered: string[] = [];
  for (const item of offer.split(',')) {
    const token = TOKEN.exec(item)?.[1];
    if (token === undefined) return null;
    offered.push(token);
  }
  return new Set(offered).size === offered.length ? offered : null;
}

function choose<P extends string>(offered: string[], supported: readonly P[]): P | undefined {
  for (const item of offered) {
    const known = supported.find(protocol => protocol === item);
    if (known !== undefined) return known;
  }
  return undefined;
}

function responseHead(key: string, protocol: string | null): string {
  return (
    'HTTP/1.1 101 Switching Protocols\r\n' +
    'Upgrade: websocket\r\n' +
    'Connection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${acceptKey(key)}\r\n` +
    (protocol === null ? '' : `Sec-WebSocket-Protocol: ${protocol}\r\n`) +
    '\r\n'
  );
}

function badRequest(detail: string): HandshakeRefused {
  return refuse(400, 'bad_request', detail);
}

function refuse(
  status: HandshakeRefused['status'],
  code: HandshakeRefused['code'],
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): HandshakeRefused {
  return { ok: false, status, code, detail, headers };
}
