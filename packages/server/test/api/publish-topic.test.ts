import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiServer, besideOthers, contents, RawClient, startApi } from './api-server.ts';

let server: ApiServer;
beforeAll(async () => {
  server = await startApi();
});
afterAll(() => server[Symbol.asyncDispose]());

async function publish(
  topic: string,
  body: RequestInit['body'],
  headers: Record<string, string> = { 'content-type': 'application/json' },
): Promise<{ status: number; answer: Record<string, unknown> }> {
  const response = await fetch(`${server.url}/v1/topics/${topic}`, { method: 'POST', body: body ?? null, headers });
  return { status: response.status, answer: (await response.json()) as Record<string, unknown> };
}

async function newest(): Promise<Awaited<ReturnType<typeof contents>>[number]> {
  return (await contents(server.log)).at(-1)!;
}

describe('POST /v1/topics/{topic}', () => {
  it('answers offset and cursor after the commit', async () => {
    const { status, answer } = await publish('a/b', '{"x":1}');
    expect(status).toBe(200);
    expect(answer).toEqual({ offset: server.log.head.offset, cursor: expect.stringMatching(/^k/), duplicate: false });
    expect(await newest()).toMatchObject({ topic: 'a/b', data: '{"x":1}' });
  });

  it('keeps the payload byte for byte', async () => {
    const odd = ' {"n": 12345678901234567890,\r\n "n":1e400, "\\u0000":"\u2028😀"} ';
    expect((await publish('odd', odd)).status).toBe(200);
    expect((await newest()).data).toBe(odd);
  });

  it('decodes the topic level by level', async () => {
    expect((await publish('m%C3%BCll/a%20b/c%2Bd', '1')).status).toBe(200);
    expect((await newest()).topic).toBe('müll/a b/c+d');
    expect((await publish(encodeURIComponent('whole/topic/encoded'), '1')).status).toBe(200);
    expect((await newest()).topic).toBe('whole/topic/encoded');
  });

  it('takes the fields from headers', async () => {
    const { status } = await publish('f', 'hello', {
      'content-type': 'text/plain',
      'tailrace-id': 'id-1',
      'Tailrace-Key': Buffer.from('schlüssel').toString('latin1'),
      'tailrace-event': 'greeting',
      'tailrace-producer': 'p1',
      'tailrace-sequence': '7',
      'tailrace-durability': 'written',
      'tailrace-lane': 'normal',
      'tailrace-header-reply-to': 'inbox/7',
      'Tailrace-Header-Correlation': 'c-1',
    });
    expect(status).toBe(200);
    expect((await newest()).record).toMatchObject({
      topic: 'f',
      contentType: 'text/plain',
      id: 'id-1',
      key: 'schlüssel',
      event: 'greeting',
      producer: 'p1',
      sequence: 7,
      headers: { 'reply-to': 'inbox/7', correlation: 'c-1' },
    });
  });

  it('takes the fields from the query', async () => {
    expect((await publish('q?id=q-1&key=k+1&event=e&producer=p&sequence=1&durability=fsync&_=x', '1')).status).toBe(
      200,
    );
    expect((await newest()).record).toMatchObject({ id: 'q-1', key: 'k 1', event: 'e', producer: 'p', sequence: 1 });
  });

  it('recognises a duplicate and answers with the first', async () => {
    const first = await publish('d?id=same', '1');
    const second = await publish('d?id=same', '2');
    expect(second.answer).toEqual({ ...first.answer, duplicate: true });
  });

  it('answers 202 for durability none, which is not in the log', async () => {
    const before = server.log.head.offset;
    expect(await publish('n?durability=none', '1')).toEqual({ status: 202, answer: {} });
    expect(server.log.head.offset).toBe(before);
  });

  it('ends a topic', async () => {
    expect((await publish('over?end=true', null)).status).toBe(200);
    expect(await publish('over', '1')).toMatchObject({ status: 409, answer: { code: 'topic_ended' } });
  });

  it('deletes a key by a body without bytes', async () => {
    expect((await publish('keyed?key=k', null)).status).toBe(200);
    expect(await newest()).toMatchObject({ data: '', record: { key: 'k' } });
  });
});

describe('a body whose type nobody chose', () => {
  const unsaid: [string, Record<string, string>][] = [
    ['none', {}],
    ['form', { 'content-type': 'application/x-www-form-urlencoded' }],
  ];
  it.each(unsaid)('is JSON, else text, else octets (%s)', async (_name, headers) => {
    const post = (body: string | Uint8Array) => publish('unsaid', new Blob([body as never]), headers);
    for (const [body, contentType] of [
      ['{"a":1}', undefined],
      ['hello wörld', 'text/plain'],
      [new Uint8Array([0xff, 0xfe, 0]), 'application/octet-stream'],
    ] as const) {
      expect((await post(body)).status).toBe(200);
      expect((await newest()).record.contentType).toBe(contentType);
    }
  });

  it('is not guessed when a type is given', async () => {
    expect(await publish('typed', 'hello')).toMatchObject({ status: 400, answer: { code: 'payload_invalid' } });
    const bad = new Blob([new Uint8Array([0xc3, 0x28])]);
    for (const type of ['text/plain', 'application/json', 'application/vnd.x+json'])
      expect(await publish('typed', bad, { 'content-type': type })).toMatchObject({
        status: 400,
        answer: { code: 'payload_invalid' },
      });
    expect((await publish('typed', bad, { 'content-type': 'image/png' })).status).toBe(200);
  });

  it('a byte order mark is no JSON', async () => {
    expect((await publish('typed', '\ufeff{"a":1}')).answer).toMatchObject({ code: 'payload_invalid' });
  });
});

describe('what is refused', () => {
  const cases: [string, string, string | null, Record<string, string>, string][] = [
    ['no topic', '', '1', {}, 'topic_invalid'],
    ['an empty level', 'a//b', '1', {}, 'topic_invalid'],
    ['a leading slash', '/a', '1', {}, 'topic_invalid'],
    ['a trailing slash', 'a/', '1', {}, 'topic_invalid'],
    ['an encoded dot level', 'a/%2e%2e%2fb', '1', {}, 'topic_invalid'],
    ['a wildcard', 'a/%23', '1', {}, 'topic_invalid'],
    ['a one-level wildcard', 'a/+/b', '1', {}, 'topic_invalid'],
    ['a control character', 'a%00b', '1', {}, 'topic_invalid'],
    ['a line break', 'a%0ab', '1', {}, 'topic_invalid'],
    ['too many levels', Array(33).fill('a').join('/'), '1', {}, 'topic_invalid'],
    ['too many bytes', 'a'.repeat(513), '1', {}, 'topic_invalid'],
    ['too many bytes of UTF-8', encodeURIComponent('ü'.repeat(257)), '1', {}, 'topic_invalid'],
    ["the server's topics", '$sys/x', '1', {}, 'publish_forbidden'],
    ['a broken escape', 'a%', '1', {}, 'bad_request'],
    ['an escape that is not UTF-8', 'a%ff', '1', {}, 'bad_request'],
    ['an unknown parameter', 'a?durabilty=fsync', '1', {}, 'unknown_field'],
    ['a parameter twice', 'a?id=1&id=2', '1', {}, 'bad_request'],
    ['a field both ways', 'a?id=1', '1', { 'tailrace-id': '1' }, 'bad_request'],
    ['an unknown header', 'a', '1', { 'tailrace-idd': '1' }, 'unknown_field'],
    ['a reserved message header', 'a', '1', { 'tailrace-header-tailrace-x': '1' }, 'bad_request'],
    ['__proto__ as a message header', 'a', '1', { 'tailrace-header-__proto__': 'y' }, 'bad_request'],
    ['a header that is not UTF-8', 'a', '1', { 'tailrace-key': '\xff' }, 'bad_request'],
    ['a bad sequence', 'a?producer=p&sequence=-1', '1', {}, 'bad_request'],
    ['a sequence alone', 'a?sequence=1', '1', {}, 'bad_request'],
    ['an unknown durability', 'a?durability=full', '1', {}, 'bad_request'],
    ['the urgent lane', 'a?lane=urgent', '1', {}, 'unsupported'],
    ['expect without a key', 'a?expect=absent', '1', {}, 'bad_request'],
    ['expect that is no offset', 'a?key=k&expect=newest', '1', {}, 'bad_request'],
    [
      'expect that is no offset, in a header',
      'a',
      '1',
      { 'tailrace-key': 'k', 'tailrace-expect': '-1' },
      'bad_request',
    ],
    ...['to', 'at', 'ttl'].flatMap((name): typeof cases => [
      [`${name}, which is set aside`, `a?${name}=1`, '1', {}, 'unsupported'],
      [`${name}, which is set aside, in a header`, 'a', '1', { [`tailrace-${name}`]: '1' }, 'unsupported'],
    ]),
    ['a token, which is set aside', 'a?token=1', '1', {}, 'unsupported'],
    ['a bad end', 'a?end=1', '1', {}, 'bad_request'],
    ['an event of ours', 'a?event=tailrace', '1', {}, 'bad_request'],
    ['an id that is too long', `a?id=${'x'.repeat(129)}`, '1', {}, 'bad_request'],
    ['nothing', 'a', '', {}, 'payload_invalid'],
    ['half of JSON', 'a', '{"a":', {}, 'payload_invalid'],
    ['multipart', 'a', 'x', { 'content-type': 'multipart/form-data; boundary=x' }, 'media_type_unsupported'],
    ['a compressed body', 'a', 'x', { 'content-encoding': 'gzip' }, 'media_type_unsupported'],
    ['headers without end', 'a', '1', { 'tailrace-header-x': 'y'.repeat(5000) }, 'payload_too_large'],
  ];
  it.each(cases)('%s, and nothing else', async (_name, topic, body, headers, code) => {
    await besideOthers(server, async () => {
      const before = server.log.head.offset;
      const response = await fetch(`${server.url}/v1/topics/${topic}`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json', ...headers },
      });
      expect(response.headers.get('content-type')).toBe('application/problem+json');
      const problem = (await response.json()) as Record<string, unknown>;
      expect(problem).toMatchObject({ code, status: response.status, retry: 'never' });
      expect(server.log.head.offset).toBe(before);
    });
  });

  it.each(['1', 'yes', ''])('end=%s with the words that would do', async text => {
    const answers = [
      await fetch(`${server.url}/v1/topics/a?end=${text}`, { method: 'POST', body: '1' }),
      await fetch(`${server.url}/v1/topics/a`, { method: 'POST', body: '1', headers: { 'Tailrace-End': text } }),
    ];
    for (const answer of answers) {
      expect(await answer.json()).toMatchObject({
        code: 'bad_request',
        detail: `end must be true or false, not "${text}"`,
        at: { field: 'end' },
      });
    }
  });

  it('a durability that is none, which is told from one that the engine does not offer', async () => {
    const refusals = await Promise.all([
      fetch(`${server.url}/v1/topics/a?durability=bogus`, { method: 'POST', body: '1' }),
      fetch(`${server.url}/v1/topics/a`, { method: 'POST', body: '1', headers: { 'Tailrace-Durability': 'bogus' } }),
      fetch(`${server.url}/v1/publish`, { method: 'POST', body: '{"topic":"a","data":1,"durability":"bogus"}' }),
    ]);
    for (const refusal of refusals)
      expect(await refusal.json()).toMatchObject({
        code: 'bad_request',
        detail: 'durability "bogus" is no durability class: it is one of fsync, written, none',
        at: { field: 'durability' },
      });
  });

  it('what is set aside is named alike in every spelling', async () => {
    const refusals = await Promise.all([
      fetch(`${server.url}/v1/topics/a?ttl=5`, { method: 'POST', body: '1' }),
      fetch(`${server.url}/v1/topics/a`, { method: 'POST', body: '1', headers: { 'Tailrace-TTL': '5' } }),
      fetch(`${server.url}/v1/publish`, { method: 'POST', body: '{"topic":"a","data":1,"ttl":5}' }),
    ]);
    const [query, ...others] = await Promise.all(refusals.map(response => response.json()));
    expect(query).toMatchObject({ code: 'unsupported', at: { field: 'ttl' } });
    for (const other of others) expect(other).toEqual(query);
  });

  it.each([
    [
      'a header that comes twice',
      'POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nTailrace-Id: 1\r\nTailrace-Id: 2\r\nContent-Length: 1\r\n\r\n1',
      '"field"',
    ],
    [
      'a path with raw bytes beyond ASCII',
      'POST /v1/topics/m\xc3\xbcll HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1',
      '\r\n\r\n',
    ],
  ])('%s, byte by byte as it stands', async (_name, bytes, seen) => {
    await besideOthers(server, async () => {
      using client = new RawClient(server.port);
      client.send(bytes);
      expect(await client.seen(seen)).toMatch(/^HTTP\/1\.1 400 /);
    });
  });
});
