import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { Server } from '../../src/server.ts';
import { Bystander } from '../gateway/bystander.ts';
import { until } from '../gateway/harness.ts';
import { getRequest, RawClient, upgradeRequest } from '../gateway/raw-client.ts';

let server: Server;
let port: number;
let clients: RawClient[];
let bystander: Bystander;
/** Head of the log when a test begins: the bystander has published. */
let before: number;
beforeEach(async () => {
  server = await Server.open(
    createConfig({ engine: 'memory', port: 0, log: { level: 'silent' }, drain: { timeout: 0 } }),
  );
  port = (await server.listen()).port;
  clients = [];
  bystander = await Bystander.open({ port, gateway: server.gateway });
  await bystander.check();
  before = server.log.head.offset;
});
afterEach(async () => {
  await bystander.check();
  bystander.close();
  // a FIN alone may come from one who waits for its answer
  for (const client of clients) client.socket.resetAndDestroy();
  await until(() => server.door.connectionCount === 0, 'nothing left');
  expect(server.door.inFlight).toBe(0);
  await server.close();
});

/** An event stream, a WebSocket and a publisher. */
const bystanding = 3;

async function open(bytes = ''): Promise<RawClient> {
  const client = await RawClient.open(port);
  clients.push(client);
  return client.send(bytes);
}

const statuses = (text: string): number[] => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(match => Number(match[1]));

/** The answers of one connection, each with its head and, as it is the last member of all of them, its problem. */
function problemOf(text: string): Record<string, unknown> {
  return JSON.parse(text.slice(text.lastIndexOf('\r\n\r\n') + 4)) as Record<string, unknown>;
}

const chunked = (target: string, type = 'application/json'): string =>
  `POST ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`;
const line = '{"topic":"a","data":1}\n';
const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

describe('a body that is broken', () => {
  const targets: [string, string][] = [
    ['/v1/topics/a', 'application/json'],
    ['/v1/publish', 'application/json'],
    ['/v1/publish', 'application/x-ndjson'],
    ['/v1/poll', 'application/json'],
    ['/v1/sse', 'application/json'],
  ];
  const faults: [string, string][] = [
    ['a chunk size that is no number', 'zz\r\n1\r\n0\r\n\r\n'],
    ['a chunk longer than it says', '1\r\n12345\r\n0\r\n\r\n'],
    ['a chunk size beyond any number', 'fffffffffffffffffff\r\n1\r\n'],
    ['a chunk that is whole, then rubbish', '1\r\n1\r\nrubbish\r\n'],
  ];
  for (const [target, type] of targets)
    it.each(faults)(`is refused by ${target} of ${type}: %s`, async (_, body) => {
      const inOne = await open(chunked(target, type) + body);
      const later = await open(chunked(target, type));
      await until(() => server.door.inFlight >= 1, 'the request begun');
      later.send(body);
      for (const client of [inOne, later]) {
        const text = await client.over();
        expect(statuses(text)).toEqual([400]);
        expect(text).toMatch(/\r\nContent-Type: application\/problem\+json\r\n/);
        expect(text).toMatch(/\r\nConnection: close\r\n/);
        expect(problemOf(text)).toMatchObject({ code: 'bad_request', retry: 'never' });
        expect(/published/.test(String(problemOf(text).detail))).toBe(/topics|publish/.test(target));
        await until(() => !client.send('x').socket.writable || client.closed, 'the server to let go');
      }
      expect(server.log.head.offset).toBe(before);
    });

  it('is refused after 100 Continue', async () => {
    const client = await open(chunked('/v1/topics/a').replace('\r\n\r\n', '\r\nExpect: 100-continue\r\n\r\n'));
    await client.has('100 Continue\r\n\r\n');
    client.send('zz\r\n');
    expect(statuses(await client.over())).toEqual([100, 400]);
  });

  it('is refused when it ends too early', async () => {
    for (const bytes of [
      `${chunked('/v1/topics/a')}1\r\n1\r\n`,
      'POST /v1/topics/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nX: y\r\n\r\n123',
    ]) {
      const client = (await open(bytes)).end();
      expect(statuses(await client.over())).toEqual([400]);
    }
    expect(server.log.head.offset).toBe(before);
  });

  it('keeps the lines that came whole before', async () => {
    const client = await open(`${chunked('/v1/publish', 'application/x-ndjson')}${chunk(line + line)}zz\r\n`);
    const text = await client.over();
    expect(statuses(text)).toEqual([400]);
    expect(problemOf(text).detail).toContain('came whole before are kept');
    await until(() => server.log.head.offset === before + 2, 'both lines');
  });

  it('ends an answer that has begun, and puts no second one into it', async () => {
    const client = await open(chunked('/v1/publish', 'application/x-ndjson') + chunk(line));
    await client.has('"accepted":1');
    client.send('zz\r\n');
    expect(statuses(await client.over())).toEqual([200]);
  });

  it('is refused behind requests that are answered first', async () => {
    const client = await open(`${getRequest('/v1/poll?filter=a')}${chunked('/v1/topics/b')}zz\r\n`);
    await until(() => server.gateway.polls === 1 && server.door.inFlight === 2, 'both begun');
    await open(`${chunked('/v1/topics/a')}${chunk('1')}0\r\n\r\n`);
    const result = await client.over();
    expect(statuses(result)).toEqual([200, 400]);
    expect(result.indexOf('"messages":[{')).toBeLessThan(result.indexOf('bad_request'));
  });

  it('costs nothing more for each piece of rubbish that follows', async () => {
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on('warning', warned);
    const client = await open(`${getRequest('/v1/poll?filter=a')}rubbish`);
    await until(() => server.gateway.polls === 1, 'the poll waits');
    for (let i = 0; i < 50; i++) {
      client.send('rubbish');
      await new Promise(resolve => setImmediate(resolve));
    }
    await open(`${chunked('/v1/topics/a')}${chunk('1')}0\r\n\r\n`);
    expect(statuses(await client.over())).toEqual([200, 400]);
    process.off('warning', warned);
    expect(warnings).toEqual([]);
  });

  it('leaves others alone when many break and leave', async () => {
    const lines = chunked('/v1/publish', 'application/x-ndjson') + chunk(line);
    for (let i = 0; i < 100; i++) {
      const client = await open(`${i % 2 === 0 ? getRequest('/v1/poll?filter=x') : ''}${lines}zz\r\n`);
      if (i % 3 === 0) client.socket.resetAndDestroy();
    }
    await bystander.publish();
    await until(() => server.log.head.offset > before + 1, 'some lines');
    expect(statuses(await (await open(getRequest('/healthz', { Connection: 'close' }))).over())).toEqual([200]);
  });
});

describe('CONNECT', () => {
  it.each([
    ['an authority', 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n'],
    ['bytes behind it', 'CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET / HTTP/1.1\r\n\r\n'],
    ['a body', 'CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n12345'],
  ])('is not allowed: %s', async (_, bytes) => {
    const text = await (await open(bytes)).over();
    expect(statuses(text)).toEqual([405]);
    expect(text).toMatch(/\r\nAllow: GET, HEAD, OPTIONS, POST\r\n/);
    expect(text).toMatch(/\r\nConnection: close\r\n/);
    expect(problemOf(text)).toMatchObject({ code: 'method_not_allowed' });
  });

  it('is refused once what came before is answered', async () => {
    const client = await open(
      `${getRequest('/v1')}${getRequest('/v1/topics')}CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
    );
    expect(statuses(await client.over())).toEqual([200, 200, 405]);
  });
});

describe('an upgrade that node:http reads', () => {
  const odd = (headers: Record<string, string> = {}, target = '/v1/ws'): string =>
    upgradeRequest({ TE: 'trailers', ...headers }, target);

  it('takes a target with scheme and authority, whose authority is the host', async () => {
    const served = await open(upgradeRequest({ Host: 'evil.example' }, `http://127.0.0.1:${port}/v1/ws`));
    await served.has('101 Switching Protocols');
    expect(statuses(await (await open(upgradeRequest({}, 'http://evil.example/v1/ws'))).over())).toEqual([421]);
  });

  it('is refused with two Hosts', async () => {
    const text = await (await open(odd().replace('\r\n', '\r\nHost: 127.0.0.1\r\n'))).over();
    expect(statuses(text)).toEqual([400]);
    expect(problemOf(text).detail).toContain('two Hosts');
  });

  it('is done once what came before is answered', async () => {
    const client = await open(getRequest('/v1/poll?filter=a&wait=300') + odd());
    const text = await client.has('101 Switching Protocols');
    expect(statuses(text)).toEqual([200, 101]);
    expect(text.indexOf('"messages":[]')).toBeLessThan(text.indexOf('101'));
  });

  it('is no harm when it is refused and its client has gone', async () => {
    for (let i = 0; i < 200; i++) {
      const client = await open();
      client.socket.write(odd({ 'Sec-WebSocket-Version': '8' }), () => client.socket.resetAndDestroy());
      await until(() => client.closed, 'gone');
    }
    await until(() => server.door.connectionCount === bystanding, 'nothing left');
  });
});

describe('requests that are odd and legal', () => {
  it.each([
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n', [204]],
    ['HTTP/1.0 without Host', 'GET /healthz HTTP/1.0\r\n\r\n', [400]],
    ['HTTP/1.0', 'GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n', [200]],
    [
      'an Expect of HTTP/1.0, which knows no 100',
      'POST /v1/topics/a HTTP/1.0\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n1',
      [200],
    ],
    [
      'chunks of HTTP/1.0, which knows none',
      `POST /v1/topics/a HTTP/1.0\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n${chunk('1')}0\r\n\r\n`,
      [400],
    ],
    [
      'an Expect whose body is there already',
      'POST /v1/topics/a HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1',
      [100, 200],
    ],
    [
      'an Expect on a request that is refused',
      'POST /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n',
      [404],
    ],
    ['an Expect without a body', getRequest('/healthz', { Expect: '100-continue', Connection: 'close' }), [200]],
    [
      'a publish in absolute form',
      'POST http://127.0.0.1/v1/topics/a HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1',
      [200],
    ],
    ['an absolute form of elsewhere', getRequest('https://evil.example/healthz', { Connection: 'close' }), [421]],
    ['an upgrade to something else', getRequest('/healthz', { Connection: 'Upgrade, close', Upgrade: 'h2c' }), [200]],
    ['an empty line before', `\r\n${getRequest('/healthz', { Connection: 'close' })}`, [200]],
  ])('%s', async (_, bytes, wanted) => {
    expect(statuses(await (await open(bytes)).over())).toEqual(wanted);
  });

  it('streams in absolute form', async () => {
    const client = await open(getRequest('http://127.0.0.1/v1/sse?filter=a', { Host: 'evil.example' }));
    expect(statuses(await client.has('"type":"live"'))).toEqual([200]);
  });
});

it('counts each open connection once, whoever has it', async () => {
  const streaming = server.gateway.connections.size;
  const bare = await open(getRequest('/v1/sse?filter=a'));
  const byNode = await open(getRequest('/healthz'));
  await byNode.has('alive');
  byNode.send(getRequest('/v1/sse?filter=a'));
  const socket = await open(upgradeRequest({ TE: 'trailers' }));
  const poll = await open(getRequest('/v1/poll?filter=a&wait=60000'));
  const idle = await open(getRequest('/healthz'));
  for (const client of [bare, byNode]) await client.has('"type":"live"');
  await socket.has('101 Switching Protocols');
  await idle.has('alive');
  await until(() => server.gateway.polls === 1, 'the poll waits');
  expect(server.gateway.connections.size).toBe(streaming + 4);
  expect(server.door.connectionCount).toBe(bystanding + 5);
  poll.socket.resetAndDestroy();
  await until(() => server.door.connectionCount === bystanding + 4, 'the poll gone');
  byNode.destroy();
  await until(() => server.door.connectionCount === bystanding + 3, 'the stream gone');
  socket.destroy();
  await until(() => server.door.connectionCount === bystanding + 2, 'the WebSocket gone');
});

describe('what comes behind a refusal that closes the connection', () => {
  const host = 'Host: 127.0.0.1\r\n';
  const one = 'Content-Length: 1\r\n\r\n1';
  const refused: [string, string][] = [
    ['multipart', `POST /v1/topics/a HTTP/1.1\r\n${host}Content-Type: multipart/form-data\r\n${one}`],
    ['gzip', `POST /v1/topics/a HTTP/1.1\r\n${host}Content-Encoding: gzip\r\n${one}`],
    ['a broken escape', `POST /v1/topics/%ff HTTP/1.1\r\n${host}${one}`],
    ['no topic', `POST /v1/topics/ HTTP/1.1\r\n${host}${one}`],
    ['a foreign origin', `POST /v1/topics/a HTTP/1.1\r\n${host}Origin: https://evil.example\r\n${one}`],
    ['a foreign host', `POST /v1/topics/a HTTP/1.1\r\nHost: evil.example\r\n${one}`],
    ['no host', 'GET /v1 HTTP/1.1\r\n\r\n'],
    ['two hosts', `GET /v1 HTTP/1.1\r\n${host}Host: a\r\n\r\n`],
    ['a body on GET', `GET /v1 HTTP/1.1\r\n${host}${one}`],
    ['a chunked body on GET', `GET /v1/log?filter=a HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['a body on a stream', `GET /v1/sse?filter=a HTTP/1.1\r\n${host}${one}`],
    [
      'gzip, chunked',
      `POST /v1/topics/a HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n`,
    ],
    ['a wrong Expect', `POST /v1/topics/a HTTP/1.1\r\n${host}Expect: 200-ok\r\n${one}`],
    ['a stream by POST to the WebSocket', `POST /v1/ws HTTP/1.1\r\n${host}${one}`],
    ['h2c', `GET /v1 HTTP/1.1\r\n${host}Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n`],
  ];
  it.each(refused)('is never done: %s', async (_, first) => {
    const client = await open(`${first}POST /v1/topics/behind HTTP/1.1\r\n${host}${one}`);
    await until(() => client.ended || client.closed || statuses(client.text).length === 2, 'closed, or answered both');
    const answered = statuses(client.text);
    expect(answered[0]).toBeGreaterThanOrEqual(200);
    // whoever is told that the connection closes may repeat what was behind: it must not have been done
    if (/^connection: close/im.test(client.text.split('\r\n\r\n')[0]!)) {
      expect(answered).toHaveLength(1);
      expect(server.log.head.offset).toBe(before);
    } else expect([answered.length, server.log.head.offset]).toEqual([2, before + 1]);
  });
});
