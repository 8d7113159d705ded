import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { acceptKey, type HandshakeRequest, handshake } from '../../../src/gateway/websocket/handshake.ts';

const SUPPORTED = ['tailrace.v1.json', 'tailrace.v1.protobuf'] as const;

const GOOD: Readonly<Record<string, string>> = {
  host: 'localhost',
  upgrade: 'websocket',
  connection: 'Upgrade',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'sec-websocket-version': '13',
};

function request(
  changes: Readonly<Record<string, string | undefined>> = {},
  line: Partial<HandshakeRequest> = {},
): HandshakeRequest {
  const headers: Readonly<Record<string, string | undefined>> = { ...GOOD, ...changes };
  return { method: 'GET', httpVersion: '1.1', header: name => headers[name], ...line };
}

function answer(changes: Readonly<Record<string, string | undefined>>, line: Partial<HandshakeRequest> = {}) {
  return handshake(request(changes, line), SUPPORTED);
}

test('the example of RFC 6455 §1.3 gets the accept key of the RFC', () => {
  expect(acceptKey('dGhlIHNhbXBsZSBub25jZQ==')).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  expect(answer({ 'sec-websocket-protocol': 'tailrace.v1.json' })).toEqual({
    ok: true,
    protocol: 'tailrace.v1.json',
    head:
      'HTTP/1.1 101 Switching Protocols\r\n' +
      'Upgrade: websocket\r\n' +
      'Connection: Upgrade\r\n' +
      'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n' +
      'Sec-WebSocket-Protocol: tailrace.v1.json\r\n' +
      '\r\n',
  });
});

describe('accepted', () => {
  test.each([
    ['upgrade', 'WebSocket'],
    ['upgrade', 'h2c, WEBSOCKET'],
    ['upgrade', 'websocket\t, h2c'],
    ['connection', 'upgrade'],
    ['connection', 'keep-alive, Upgrade'],
    ['connection', 'keep-alive ,\tUPGRADE ,close'],
    ['content-length', '0'],
    ['sec-websocket-extensions', 'permessage-deflate; client_max_window_bits'],
  ])('%s: %s', (name, value) => {
    const result = answer({ [name]: value });
    expect(result).toMatchObject({ ok: true, protocol: 'tailrace.v1.json' });
    expect(result).not.toMatchObject({ head: expect.stringMatching(/extensions/i) });
  });
});

describe('refused with 400', () => {
  test.each<[string, string | undefined]>([
    ['upgrade', undefined],
    ['upgrade', ''],
    ['upgrade', 'h2c'],
    ['upgrade', 'websocket2'],
    ['upgrade', 'my websocket'],
    ['upgrade', 'web-socket, xwebsocket'],
    ['connection', undefined],
    ['connection', 'keep-alive'],
    ['connection', 'upgrade-insecure'],
    ['sec-websocket-key', undefined],
    ['sec-websocket-key', ''],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ'],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25j'],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZSE='],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQA=='],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZ-=='],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZR=='],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZf=='],
    ['sec-websocket-key', ' dGhlIHNhbXBsZSBub25jZQ=='],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ==\n'],
    ['sec-websocket-key', 'dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=='],
    ['content-length', '5'],
    ['content-length', '0, 5'],
    ['transfer-encoding', 'chunked'],
    ['sec-websocket-protocol', ''],
    ['sec-websocket-protocol', 'tailrace.v1.json,'],
    ['sec-websocket-protocol', 'tailrace.v1.json tailrace.v1.protobuf'],
    ['sec-websocket-protocol', 'a, a, tailrace.v1.json'],
    ['sec-websocket-protocol', 'tailrace.v1.json\r\nX: y'],
  ])('%s: %j', (name, value) => {
    const result = answer({ [name]: value });
    expect(result).toMatchObject({ ok: false, status: 400, code: 'bad_request' });
  });

  test.each(['1.0', '0.9', '2.0', '3.0', '11.1', ''])('HTTP version %j', httpVersion => {
    expect(answer({}, { httpVersion })).toMatchObject({ ok: false, status: 400, code: 'bad_request' });
  });
});

test.each(['POST', 'HEAD', 'CONNECT', 'get'])('method %s is refused with 405 and Allow', method => {
  const result = answer({}, { method });
  expect(result).toMatchObject({ ok: false, status: 405, code: 'method_not_allowed', headers: { Allow: 'GET' } });
});

test.each([undefined, '', '8', '12', '14', '013', '13, 13', '13, 8'])(
  'version %j is refused with 426 and the version spoken',
  version => {
    expect(answer({ 'sec-websocket-version': version })).toMatchObject({
      ok: false,
      status: 426,
      code: 'upgrade_required',
      headers: { 'Sec-WebSocket-Version': '13', Upgrade: 'websocket', Connection: 'Upgrade' },
    });
  },
);

describe('subprotocol', () => {
  test('none offered: the default, and no header in the answer', () => {
    const result = answer({});
    expect(result).toMatchObject({ ok: true, protocol: 'tailrace.v1.json' });
    expect(result).not.toMatchObject({ head: expect.stringMatching(/protocol:/i) });
  });

  test.each([
    ['tailrace.v1.protobuf', 'tailrace.v1.protobuf'],
    ['tailrace.v1.protobuf, tailrace.v1.json', 'tailrace.v1.protobuf'],
    ['mqtt,  tailrace.v1.json\t,tailrace.v1.protobuf', 'tailrace.v1.json'],
  ])('offered %s: the first one supported', (offer, protocol) => {
    expect(answer({ 'sec-websocket-protocol': offer })).toMatchObject({
      ok: true,
      protocol,
      head: expect.stringContaining(`\r\nSec-WebSocket-Protocol: ${protocol}\r\n\r\n`),
    });
  });

  test.each(['mqtt', 'TAILRACE.V1.JSON', 'tailrace.v1, graphql-ws'])(
    'offered %s: refused, naming what is supported',
    offer => {
      expect(answer({ 'sec-websocket-protocol': offer })).toMatchObject({
        ok: false,
        status: 400,
        code: 'unsupported',
        detail: expect.stringContaining('tailrace.v1.json or tailrace.v1.protobuf'),
      });
    },
  );
});

test('long runs of blanks are judged in linear time', () => {
  const blanks = ' '.repeat(4_000_000);
  expect(answer({ 'sec-websocket-protocol': `a${blanks}b` })).toMatchObject({ status: 400 });
  expect(answer({ connection: `a,${blanks}b` })).toMatchObject({ status: 400 });
  expect(answer({ upgrade: `websocket${blanks}b` })).toMatchObject({ status: 400 });
});

describe('headers as node:http joins them', () => {
  async function answerOver(lines: readonly string[]) {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write(`GET /v1/ws HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    const [incoming, upgraded] = (await once(server, 'upgrade')) as [IncomingMessage, { destroy(): void }];
    const header = (name: string): string | undefined => {
      const value = incoming.headers[name];
      return Array.isArray(value) ? value.join(', ') : value;
    };
    const result = handshake({ method: 'GET', httpVersion: incoming.httpVersion, header }, SUPPORTED);
    upgraded.destroy();
    socket.destroy();
    server.close();
    await once(server, 'close');
    return result;
  }

  const lines = Object.entries(GOOD).map(([name, value]) => `${name}: ${value}`);

  test('sent once: accepted', async () => {
    expect(await answerOver(lines)).toMatchObject({ ok: true });
  });

  test.each([
    ['sec-websocket-key', 400],
    ['sec-websocket-version', 426],
  ] as const)('%s sent twice: refused with %d', async (name, status) => {
    expect(await answerOver([...lines, `${name}: ${GOOD[name]}`])).toMatchObject({ ok: false, status });
  });

  test('subprotocols offered in two headers are one list', async () => {
    const offers = ['Sec-WebSocket-Protocol: mqtt', 'Sec-WebSocket-Protocol: tailrace.v1.protobuf'];
    expect(await answerOver([...lines, ...offers])).toMatchObject({ ok: true, protocol: 'tailrace.v1.protobuf' });
  });
});
