import { describe, expect, it } from 'vitest';
import { besideOthers, RawClient, startApi, until } from './api-server.ts';

const post = 'POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';

describe('request bodies', () => {
  it('announced too large are refused before they are read, and the connection ends', async () => {
    await using server = await startApi({ bodyMax: 1000 });
    await besideOthers(server, async () => {
      using client = new RawClient(server.port);
      client.send(`${post}Content-Length: 1001\r\n\r\n`);
      expect(await client.seen('payload_too_large')).toMatch(/^HTTP\/1\.1 413 .*Connection: close/s);
      await client.end();
    });
  });

  it('announced too large and sent all the same still get their answer', async () => {
    await using server = await startApi({ bodyMax: 1000 });
    await besideOthers(server, async () => {
      const response = await fetch(`${server.url}/v1/topics/a`, { method: 'POST', body: 'x'.repeat(3_000_000) });
      expect(response.status).toBe(413);
      expect(await response.json()).toMatchObject({ code: 'payload_too_large' });
    });
  });

  it('of unknown length are cut where they cross the limit', async () => {
    await using server = await startApi({ bodyMax: 1000 });
    await besideOthers(server, async () => {
      const before = server.log.head.offset;
      using client = new RawClient(server.port);
      client.send(`${post}Transfer-Encoding: chunked\r\n\r\n`);
      for (let i = 0; i < 11; i++) client.send(`64\r\n${'1'.repeat(100)}\r\n`);
      expect(await client.seen('payload_too_large')).toMatch(/^HTTP\/1\.1 413 /);
      await client.end();
      expect(server.log.head.offset).toBe(before);
    });
  });

  it('of exactly the limit pass, whatever the chunks', async () => {
    await using server = await startApi({ bodyMax: 1000 });
    using client = new RawClient(server.port);
    client.send(`${post}Transfer-Encoding: chunked\r\n\r\n`);
    const body = `"${'x'.repeat(998)}"`;
    for (const character of body) client.send(`1\r\n${character}\r\n`);
    client.send('0\r\n\r\n');
    await client.seen('"offset":1');
  });

  it('that stop arriving are timed out', async () => {
    await using server = await startApi({ bodyTimeout: 200 });
    await besideOthers(server, async () => {
      const before = server.log.head.offset;
      using client = new RawClient(server.port);
      client.send(`${post}Content-Length: 10\r\n\r\n123`);
      expect(await client.seen('request_timeout')).toMatch(/^HTTP\/1\.1 408 /);
      await client.end();
      expect(server.log.head.offset).toBe(before);
    });
  });

  it('are refused in words that fit what they were for', async () => {
    await using server = await startApi({ bodyTimeout: 200, bodyMax: 1000 });
    const told = async (request: string): Promise<string> => {
      using client = new RawClient(server.port);
      client.send(request);
      const text = await client.end();
      return (JSON.parse(text.slice(text.indexOf('\r\n\r\n{') + 4)) as { detail: string }).detail;
    };
    const to = (path: string, length: number, body: string): string =>
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`;
    for (const path of ['/v1/topics/a', '/v1/publish'])
      expect(await told(to(path, 10, '1'))).toBe('the body stopped arriving; nothing was published');
    for (const path of ['/v1/sse', '/v1/poll']) {
      expect(await told(to(path, 10, '{'))).toBe('the body stopped arriving');
      expect(await told(to(path, 300_000, ''))).toBe('the body has more than the 262144 bytes that this path takes');
    }
    expect(await told(to('/v1/topics/a', 1001, ''))).toContain(
      'the 1000 bytes that limits.body allows for one message',
    );
    expect(await told(to('/v1/publish', 1001, ''))).toContain('send NDJSON');
  });

  it('that never come whole publish nothing', async () => {
    await using server = await startApi();
    await besideOthers(server, async () => {
      const before = server.log.head.offset;
      const client = new RawClient(server.port);
      client.send(`${post}Content-Length: 10\r\n\r\n1`);
      client.socket.end();
      await client.end();
      const again = new RawClient(server.port);
      again.send(`${post}Transfer-Encoding: chunked\r\n\r\n1\r\n1\r\n`);
      await until(() => again.socket.bytesWritten > 100);
      again.socket.destroy();
      await fetch(`${server.url}/v1/topics/a`, { method: 'POST', body: '"the only one"' });
      expect(server.log.head.offset).toBe(before + 1);
    });
  });

  it('wait for leave when they ask for it, and get none when they would be refused', async () => {
    await using server = await startApi({ bodyMax: 1000 });
    using client = new RawClient(server.port);
    client.send(`${post}Expect: 100-continue\r\nContent-Length: 1\r\n\r\n`);
    expect(await client.seen('\r\n\r\n')).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    client.send('1');
    await client.seen('"offset":1');
    using refused = new RawClient(server.port);
    refused.send(`${post}Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n`);
    expect(await refused.seen('payload_too_large')).not.toContain('100 Continue');
    for (const request of [
      post.replace('topics/a', 'topics/a//b'),
      post.replace('topics/a', 'topics/$sys/x'),
      post.replace('topics/a', 'topics/a?durability=bogus'),
      `${post}Tailrace-Sequence: 1\r\n`,
    ]) {
      using invalid = new RawClient(server.port);
      invalid.send(`${request}Expect: 100-continue\r\nContent-Length: 1\r\n\r\n`);
      expect(await invalid.end()).toMatch(/^HTTP\/1\.1 40[03] /);
      expect(invalid.received).not.toContain('100 Continue');
    }
    using text = new RawClient(server.port);
    text.send(
      'POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: image/png\r\nContent-Length: 1\r\n\r\n',
    );
    await text.seen('100 Continue');
    using lines = new RawClient(server.port);
    lines.send(
      'POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n',
    );
    await lines.seen('100 Continue');
  });

  it('keep a connection usable when they were read whole', async () => {
    await using server = await startApi();
    using client = new RawClient(server.port);
    client.send(`${post}Content-Length: 1\r\n\r\n{${post}Content-Length: 1\r\n\r\n1`);
    const text = await client.seen('"offset":1');
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400', 'HTTP/1.1 200']);
  });

  it('are not expected where none belongs', async () => {
    await using server = await startApi();
    await besideOthers(server, async () => {
      using client = new RawClient(server.port);
      client.send('GET /v1 HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n');
      expect(await client.seen('bad_request')).toMatch(/^HTTP\/1\.1 400 /);
      await client.end();
    });
  });

  it.each([
    ['two lengths', `${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\n12`],
    ['length and chunked', `${post}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n`],
    ['a length that is no number', `${post}Content-Length: 1x\r\n\r\n1`],
    ['a negative length', `${post}Content-Length: -1\r\n\r\n1`],
    ['a chunk size that is no number', `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n1\r\n0\r\n\r\n`],
    ['chunked not last', `${post}Transfer-Encoding: chunked, identity\r\n\r\n1\r\n1\r\n0\r\n\r\n`],
    ['a space before the colon', `${post}Content-Length : 1\r\n\r\n1`],
    ['a folded header', `${post}X: a\r\n b\r\nContent-Length: 1\r\n\r\n1`],
    ['two hosts', `${post}Host: evil.com\r\nContent-Length: 1\r\n\r\n1`],
    ['no host', 'POST /v1/topics/a HTTP/1.1\r\nContent-Length: 1\r\n\r\n1'],
    ['rubbish behind a request', `${post}Content-Length: 1\r\n\r\n{\0\0\0GET / HTTP/1.1\r\n\r\n`],
  ])('with %s append nothing', async (_name, text) => {
    await using server = await startApi();
    await besideOthers(server, async () => {
      const before = server.log.head.offset;
      using client = new RawClient(server.port);
      client.send(text);
      expect(await client.seen('\r\n\r\n')).toMatch(/^HTTP\/1\.1 4\d\d /);
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      expect(server.log.head.offset).toBe(before);
    });
  });
});
