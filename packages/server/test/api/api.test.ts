import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiServer, besideOthers, RawClient, startApi } from './api-server.ts';

let server: ApiServer;
beforeAll(async () => {
  server = await startApi({ hosts: ['push.example.com'] });
});
afterAll(() => server[Symbol.asyncDispose]());

interface Got {
  readonly status: number;
  readonly headers: NodeJS.Dict<string | string[]>;
  readonly body: string;
}

/** Unlike fetch it sends any header. */
function send(method: string, path: string, headers: Record<string, string> = {}, body?: string): Promise<Got> {
  return new Promise((resolve, reject) => {
    const req = request({ port: server.port, host: '127.0.0.1', method, path, headers, agent: false }, res => {
      let text = '';
      res.setEncoding('utf8').on('data', part => (text += part));
      res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, body: text }));
    });
    req.on('error', reject).end(body);
  });
}

describe('paths and methods', () => {
  it.each([
    ['GET', '/'.padEnd(20, 'x'), 404, 'not_found'],
    ['GET', '/v2', 404, 'not_found'],
    ['GET', '/v1/', 404, 'not_found'],
    ['GET', '/v1/../v1', 404, 'not_found'],
    ['POST', '/v1/nothing', 404, 'not_found'],
    ['GET', '/v1/sessions/', 404, 'not_found'],
    ['GET', '/v1/sessions/a/b', 404, 'not_found'],
    ['GET', '/v1/%zz', 400, 'bad_request'],
    ['GET', '/v1/sessions/%zz', 400, 'bad_request'],
    ['GET', '/v1/sessions/%ff', 400, 'bad_request'],
    ['GET', '/v1?x=1', 400, 'unknown_field'],
    ['GET', '/v1?token=x', 400, 'unsupported'],
    ['GET', '/healthz?verbose=1', 400, 'unknown_field'],
    ['DELETE', '/v1/topics', 405, 'method_not_allowed'],
    ['DELETE', '/v1/topics/', 400, 'topic_invalid'],
    ['DELETE', '/v1/topics/a/%23', 400, 'topic_invalid'],
    ['DELETE', '/v1/topics/a/+', 400, 'topic_invalid'],
    ['DELETE', '/v1/topics/a//b', 400, 'topic_invalid'],
    ['DELETE', '/v1/topics/%zz', 400, 'bad_request'],
    ['DELETE', '/v1/topics/a?all=1', 400, 'unknown_field'],
    ['GET', '/v1/topics/a', 405, 'method_not_allowed'],
    ['PUT', '/v1/publish', 405, 'method_not_allowed'],
    ['POST', '/v1/log', 405, 'method_not_allowed'],
    ['POST', '/v1', 405, 'method_not_allowed'],
    ['PATCH', '/metrics', 405, 'method_not_allowed'],
    ['DELETE', '/v1/poll', 405, 'method_not_allowed'],
  ])('%s %s is a problem, for nobody else', async (method, path, status, code) => {
    await besideOthers(server, async () => {
      const got = await send(method, path);
      expect(got.status).toBe(status);
      expect(got.headers['content-type']).toBe('application/problem+json');
      expect(JSON.parse(got.body)).toMatchObject({ code, status });
    });
  });

  it('tells what the server as a whole takes', async () => {
    const got = await send('OPTIONS', '*');
    expect([got.status, got.body]).toEqual([204, '']);
    expect(got.headers.allow).toBe('DELETE, GET, HEAD, OPTIONS, POST');
    expect((await send('OPTIONS', '*', { origin: 'https://evil.com' })).status).toBe(403);
  });

  it('says which paths take no parameters', async () => {
    const problem = JSON.parse((await send('GET', '/v1?zz=1')).body) as { detail: string };
    expect(problem.detail).toBe('no query parameter "zz" here: this path takes none');
  });

  it('names the allowed methods', async () => {
    expect((await send('GET', '/v1/publish')).headers.allow).toBe('POST, OPTIONS');
    expect((await send('DELETE', '/v1/log')).headers.allow).toBe('GET, HEAD, OPTIONS');
    expect((await send('DELETE', '/v1/poll')).headers.allow).toBe('GET, HEAD, OPTIONS, POST');
  });

  it.each([
    '/',
    '/v1',
    '/v1/log?filter=a',
    '/v1/log',
    '/v1/topics',
    '/v1/topics?limit=0',
    '/v1/sessions',
    '/v1/sessions/nobody',
    '/healthz',
    '/readyz',
    '/openapi.json',
    '/v1/poll?filter=a&wait=0',
    '/v1/poll?filter=a//b',
    '/v1/sse',
    '/v1/sse?filter=a//b',
    '/v1/ws',
    '/nothing',
  ])('answers HEAD %s as it would a GET, without the body', async path => {
    const head = await send('HEAD', path);
    const get = await send('GET', path);
    expect([head.status, head.body]).toEqual([get.status, '']);
    for (const name of ['content-type', 'cache-control', 'vary', 'allow'])
      expect([name, head.headers[name]]).toEqual([name, get.headers[name]]);
    const length = head.headers['content-length'];
    if (length !== undefined) expect(Number(length)).toBe(Buffer.byteLength(get.body));
  });

  it('answers HEAD of what never ends at once', async () => {
    const poll = await send('HEAD', '/v1/poll?filter=a');
    expect([poll.status, poll.headers['content-type'], poll.body]).toEqual([200, 'application/json', '']);
    const stream = await send('HEAD', '/v1/sse?filter=a');
    expect([stream.status, stream.headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8']);
    expect(stream.headers['content-length']).toBeUndefined();
    expect((await send('HEAD', '/metrics')).status).toBe(200);
    expect(server.gateway.connections.size).toBe(0);
  });

  it('takes a target with scheme and authority, whose authority is the host', async () => {
    expect((await send('GET', 'http://localhost:1/v1')).status).toBe(200);
    expect((await send('GET', 'http://evil.com/v1')).status).toBe(421);
    expect((await send('GET', 'http://localhost')).status).toBe(200);
    expect((await send('GET', '*')).status).toBe(404);
    expect((await send('GET', 'rubbish')).status).toBe(400);
  });

  it('calls a fault of its own internal, and logs it', async () => {
    await using other = await startApi();
    other.log.topics = () => Promise.reject(new Error('disk on fire'));
    const response = await fetch(`${other.url}/v1/topics`);
    expect(response.status).toBe(500);
    const problem = (await response.json()) as { code: string; detail: string };
    expect(problem.code).toBe('internal');
    expect(problem.detail).not.toContain('fire');
    expect(other.faults).toEqual([expect.objectContaining({ message: 'disk on fire' })]);
  });

  it('survives a flood of odd URLs', async () => {
    const urls = Array.from({ length: 300 }, (_, i) => `/x${'x'.repeat(i * 10)}?${'&a=%41'.repeat(i)}`);
    await besideOthers(server, async () => {
      for (const url of urls) expect((await send('GET', url)).status).toBe(404);
    });
  });
});

describe('origins', () => {
  const anyPath: [string, string, string?][] = [
    ['POST', '/v1/topics/a', '1'],
    ['POST', '/v1/publish', '{"topic":"a","data":1}'],
    ['GET', '/v1'],
    ['GET', '/v1/log?filter=a'],
    ['GET', '/v1/poll?filter=a&wait=0'],
    ['GET', '/metrics'],
    ['GET', '/nothing'],
    ['GET', '/'],
  ];
  it.each(anyPath)('refuses pages of elsewhere: %s %s', async (method, path, body) => {
    await besideOthers(server, async () => {
      const before = server.log.head.offset;
      for (const headers of [
        { origin: 'https://evil.com' },
        { origin: 'null' },
        { origin: 'http://localhost.evil.com' },
        { 'sec-fetch-site': 'cross-site' },
      ]) {
        const got = await send(method, path, headers as Record<string, string>, body);
        expect(got.status).toBe(403);
        expect(JSON.parse(got.body)).toMatchObject({ code: 'origin_refused' });
        expect(got.headers['access-control-allow-origin']).toBeUndefined();
      }
      for (const host of ['evil.com', 'localhost.evil.com:4080']) {
        const got = await send(method, path, { host }, body);
        expect(got.status).toBe(421);
        expect(JSON.parse(got.body)).toMatchObject({ code: 'host_refused' });
      }
      expect(server.log.head.offset).toBe(before);
    });
  });

  it.each(anyPath)('tells an allowed page that it may read: %s %s', async (method, path, body) => {
    const got = await send(method, path, { origin: 'http://localhost:5173' }, body);
    expect(got.headers['access-control-allow-origin']).toBe('http://localhost:5173');
    expect(got.headers['access-control-expose-headers']).toBe('Retry-After, Tailrace-Cursor');
    expect(String(got.headers.vary)).toContain('Origin');
  });

  it('tells it why a request failed, too', async () => {
    const got = await send('POST', '/v1/topics/a//b', { origin: 'http://localhost:5173' }, '1');
    expect(got.status).toBe(400);
    expect(got.headers['access-control-allow-origin']).toBe('http://localhost:5173');
  });

  it('refuses a body before reading it', async () => {
    using client = new RawClient(server.port);
    client.send(
      'POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.com\r\nContent-Length: 9\r\n\r\n',
    );
    expect(await client.seen('origin_refused')).toMatch(/^HTTP\/1\.1 403 /);
    await client.end();
  });

  it('answers a preflight', async () => {
    const got = await send('OPTIONS', '/v1/topics/a/b', {
      origin: 'http://localhost:5173',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type, tailrace-id,authorization, bad name',
      'access-control-request-private-network': 'true',
    });
    expect(got.status).toBe(204);
    expect(got.headers).toMatchObject({
      'access-control-allow-origin': 'http://localhost:5173',
      'access-control-allow-methods': 'POST, OPTIONS, DELETE',
      'access-control-allow-headers': 'content-type, tailrace-id, authorization',
      'access-control-allow-private-network': 'true',
      'access-control-max-age': '7200',
    });
    expect(got.headers['content-length']).toBeUndefined(); // RFC 9110 §8.6
    const refused = await send('OPTIONS', '/v1/topics/a', { origin: 'https://evil.com' });
    expect(refused.status).toBe(403);
    expect(refused.headers['access-control-allow-origin']).toBeUndefined();
    expect((await send('OPTIONS', '/v1/log')).headers.allow).toBe('GET, HEAD, OPTIONS');
    expect((await send('OPTIONS', '/nothing')).status).toBe(404);
  });
});

describe('discovery and health', () => {
  it('tells what the server offers', async () => {
    expect(JSON.parse((await send('GET', '/v1')).body)).toMatchObject({
      server: 'tailrace/test',
      protocols: ['tailrace.v1.json'],
      transports: ['sse', 'websocket', 'poll'],
      features: [],
      heartbeat: 25_000,
      dedupe: { ids: 100_000, age: 300_000 },
      limits: { message: 1_048_576 },
      origin: 'allowed',
      session: null,
    });
  });

  it('is ready until it drains or the log cannot take more', async () => {
    await using other = await startApi();
    const ready = () => fetch(`${other.url}/readyz`);
    expect((await ready()).status).toBe(200);
    other.hub.publisher.draining = true;
    const draining = await ready();
    expect(draining.status).toBe(503);
    expect(await draining.json()).toEqual({ status: 'not ready', reason: 'the server is shutting down' });
    other.hub.publisher.draining = false;
    Object.defineProperty(other.log, 'status', { value: { ...other.log.status, state: 'full', reason: 'no space' } });
    expect(await (await ready()).json()).toEqual({ status: 'not ready', reason: 'the log is full: no space' });
    expect((await fetch(`${other.url}/healthz`)).status).toBe(200);
  });

  it('closes connections once it drains', async () => {
    await using other = await startApi();
    other.api.drain();
    expect((await fetch(`${other.url}/v1`)).headers.get('connection')).toBe('close');
    expect((await fetch(`${other.url}/v1/topics/a`, { method: 'POST', body: '1' })).headers.get('connection')).toBe(
      'close',
    );
  });
});

describe('topics', () => {
  it('come in order, a page at a time', async () => {
    await using other = await startApi();
    const messages = ['b/2', 'a', 'b/1', 'c', 'b/10'].map(topic => ({ topic, data: 1 }));
    await fetch(`${other.url}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(messages),
    });
    const page = async (query: string) =>
      (await (await fetch(`${other.url}/v1/topics${query}`)).json()) as {
        topics: { topic: string; offset: number }[];
        more: boolean;
        after?: string;
      };
    const all = await page('');
    expect(all.topics.map(({ topic }) => topic)).toEqual(['a', 'b/1', 'b/10', 'b/2', 'c']);
    expect(all.topics[0]).toMatchObject({ topic: 'a', offset: 2, time: other.log.head.time });
    expect(all.more).toBe(false);
    const first = await page('?limit=2');
    expect([first.topics.map(({ topic }) => topic), first.more, first.after]).toEqual([['a', 'b/1'], true, 'b/1']);
    expect((await page(`?limit=2&after=${first.after}`)).topics.map(({ topic }) => topic)).toEqual(['b/10', 'b/2']);
    expect((await page('?prefix=b/1')).topics.map(({ topic }) => topic)).toEqual(['b/1', 'b/10']);
    for (const bad of ['?limit=0', '?limit=1001', '?limit=x', '?limit=1&limit=2'])
      expect((await fetch(`${other.url}/v1/topics${bad}`)).status).toBe(400);
  });
});
