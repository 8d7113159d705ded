import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket as WsClient } from 'ws';
import { binary, clientFrame, close, fragmented, ping, text } from './client-frames.ts';
import { bytewise } from './recorder.ts';
import { WireServer } from './wire-server.ts';
import { recordWs } from './ws-receiver.ts';

const LIMIT = 1024 * 1024;

let server: WireServer;

beforeEach(async () => {
  server = await WireServer.start({ maxMessageBytes: LIMIT, maxFragments: 64 });
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
});

async function open(protocols: string[] = ['tailrace.v1.json']) {
  const client = new WsClient(server.url, protocols);
  const [connection] = await Promise.all([server.nextConnection(), once(client, 'open')]);
  return { client, connection };
}

async function echo(client: WsClient, send: () => void): Promise<{ data: Buffer; isBinary: boolean }> {
  const answer = once(client, 'message');
  send();
  const [data, isBinary] = (await answer) as [Buffer, boolean];
  return { data, isBinary };
}

async function closing(client: WsClient): Promise<{ code: number; reason: string }> {
  const [code, reason] = (await once(client, 'close')) as [number, Buffer];
  return { code, reason: reason.toString() };
}

describe('a client of ws', () => {
  test.each([0, 1, 125, 126, 127, 65_535, 65_536, LIMIT])('gets %d bytes back, as text and as binary', async length => {
    const { client } = await open();
    const payload = Buffer.alloc(length, 'echo ');
    expect(await echo(client, () => client.send(payload, { binary: true }))).toEqual({ data: payload, isBinary: true });
    expect(await echo(client, () => client.send(payload.toString()))).toEqual({ data: payload, isBinary: false });
  });

  test('gets many messages back in order', async () => {
    const { client } = await open();
    const sent = Array.from({ length: 2000 }, (_, at) => `${at} ${'ß'.repeat(at % 300)}`);
    const received: string[] = [];
    const all = new Promise<void>(resolve => {
      client.on('message', (data: Buffer) => {
        if (received.push(data.toString()) === sent.length) resolve();
      });
    });
    for (const message of sent) client.send(message);
    await all;
    expect(received).toEqual(sent);
  });

  test('may cut a character over fragments', async () => {
    const { client } = await open();
    const bytes = Buffer.from('κόσμε ☃ 😀');
    const { data } = await echo(client, () => {
      for (const [at, byte] of bytes.entries())
        client.send(Buffer.of(byte), { binary: false, fin: at === bytes.length - 1 });
    });
    expect(data.toString()).toBe('κόσμε ☃ 😀');
  });

  test('pings and is pinged', async () => {
    const { client, connection } = await open();
    const answered = once(client, 'pong');
    client.ping('from the client');
    expect(((await answered) as [Buffer])[0].toString()).toBe('from the client');
    const pong = once(connection, 'pong');
    connection.ping('from the server');
    expect(await pong).toEqual(['from the server']);
  });

  test('negotiates the subprotocol and no extension, although it offers one', async () => {
    const { client, connection } = await open(['unknown', 'tailrace.v1.json']);
    expect(client.protocol).toBe('tailrace.v1.json');
    expect(connection.protocol).toBe('tailrace.v1.json');
    expect(client.extensions).toBe('');
  });

  test('that offers no subprotocol is not given one', async () => {
    const { client, connection } = await open([]);
    expect(client.protocol).toBe('');
    expect(connection.protocol).toBe('tailrace.v1.json');
  });

  test('that offers only unknown subprotocols is refused', async () => {
    const client = new WsClient(server.url, ['mqtt']);
    const [, response] = (await once(client, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(response.statusCode).toBe(400);
    const body = await response.setEncoding('utf8').toArray();
    expect(body.join('')).toContain('tailrace.v1.json');
  });

  test('that speaks another version is told ours', async () => {
    const client = new WsClient(server.url, { protocolVersion: 8 });
    const [, response] = (await once(client, 'unexpected-response')) as [unknown, IncomingMessage];
    expect(response.statusCode).toBe(426);
    expect(response.headers['sec-websocket-version']).toBe('13');
    response.destroy();
  });

  test.each([
    [1000, 'done'],
    [4001, 'ü'.repeat(61)],
  ])('closes with %d', async (code, reason) => {
    const { client, connection } = await open();
    const seen = once(connection, 'closed');
    client.close(code, reason);
    expect(await seen).toEqual([code, reason]);
    expect((await closing(client)).code).toBe(code);
    expect(connection.ended).toBe(true);
  });

  test('closes without a code', async () => {
    const { client, connection } = await open();
    const seen = once(connection, 'closed');
    client.close();
    expect(await seen).toEqual([undefined, '']);
    expect((await closing(client)).code).toBe(1005);
  });

  test('is closed by the server, and answers', async () => {
    const { client, connection } = await open();
    const seen = once(connection, 'closed');
    connection.close(4408, 'connect_timeout');
    expect(await closing(client)).toEqual({ code: 4408, reason: 'connect_timeout' });
    expect(await seen).toEqual([4408, 'connect_timeout']);
  });

  test('that sends one byte too many is refused with 1009', async () => {
    const { client, connection } = await open();
    let delivered = 0;
    connection.on('message', () => delivered++);
    client.send(Buffer.alloc(LIMIT + 1));
    expect((await closing(client)).code).toBe(1009);
    expect(delivered).toBe(0);
  });

  test('that sends too many fragments is refused with 1008', async () => {
    const { client } = await open();
    for (let at = 0; at < 65; at++) client.send('', { fin: false });
    expect((await closing(client)).code).toBe(1008);
  });

  test('that sends text that is not UTF-8 is refused with 1007', async () => {
    const { client } = await open();
    client.send(Buffer.of(0x61, 0xff), { binary: false });
    expect((await closing(client)).code).toBe(1007);
  });
});

test("Node's own WebSocket client talks to us too", async () => {
  const client = new WebSocket(server.url, 'tailrace.v1.json');
  await once(client, 'open');
  expect(client.protocol).toBe('tailrace.v1.json');
  const answer = once(client, 'message');
  client.send('κόσμε');
  const [event] = (await answer) as [MessageEvent];
  expect(event.data).toBe('κόσμε');
  const closed = once(client, 'close');
  client.close(3456, 'bye');
  expect((await closed)[0]).toMatchObject({ code: 3456, wasClean: true });
});

describe('a bare socket', () => {
  const HEAD = [
    'GET /v1/ws HTTP/1.1',
    'Host: localhost',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    '\r\n',
  ].join('\r\n');

  /** What the server answers, from the first frame to the end of the connection, as ws reads it. */
  async function answers(send: (socket: Socket) => void) {
    const socket = connect({ port: server.port, host: '127.0.0.1', noDelay: true });
    send(socket);
    const bytes = Buffer.concat((await socket.toArray()) as Buffer[]);
    const end = bytes.indexOf('\r\n\r\n');
    expect(bytes.subarray(0, end).toString()).toContain('Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    return recordWs([bytes.subarray(end + 4)], { isServer: false });
  }

  test('may send its first frames together with the handshake', async () => {
    const frames = [text('early'), ping('p'), fragmented(2, ['a', 'b']), close(1000)];
    expect(await answers(socket => socket.write(Buffer.concat([Buffer.from(HEAD), ...frames])))).toEqual([
      { type: 'text', data: 'early' },
      { type: 'pong', data: 'p' },
      { type: 'binary', data: 'ab' },
      { type: 'close', code: 1000, reason: '' },
    ]);
  });

  test('may send byte by byte', async () => {
    const stream = Buffer.concat([Buffer.from(HEAD), binary('x'.repeat(200)), text('y'), close(3000)]);
    const events = await answers(socket => {
      for (const byte of bytewise(stream)) socket.write(byte);
    });
    expect(events).toEqual([
      { type: 'binary', data: 'x'.repeat(200) },
      { type: 'text', data: 'y' },
      { type: 'close', code: 3000, reason: '' },
    ]);
  });

  test.each([
    ['an unmasked frame', clientFrame({ opcode: 1, payload: 'x', mask: null }), 1002],
    ['a close code that may not be sent', close(1006), 1002],
    ['a close reason that is not UTF-8', close(1000, Uint8Array.of(0xff)), 1007],
    ['a large announced length', clientFrame({ opcode: 2, payload: Buffer.alloc(LIMIT + 1) }).subarray(0, 10), 1009],
  ])('that sends %s is answered by a close frame and the end', async (_, frame, code) => {
    const events = await answers(socket => socket.write(Buffer.concat([Buffer.from(HEAD), text('before'), frame])));
    expect(events).toEqual([
      { type: 'text', data: 'before' },
      { type: 'close', code, reason: expect.stringMatching(/./) },
    ]);
  });
});
