import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ApiServer, besideOthers, contents, startApi } from './api-server.ts';

let server: ApiServer;
beforeAll(async () => {
  server = await startApi({ limits: { items: 5, message: 1000 }, bodyMax: 4000 });
});
afterAll(() => server[Symbol.asyncDispose]());

async function post(body: string | Uint8Array, type: string | undefined = 'application/json') {
  const response = await fetch(`${server.url}/v1/publish`, {
    method: 'POST',
    body: new Blob([body as never]),
    headers: type === undefined ? {} : { 'content-type': type },
  });
  return { status: response.status, answer: (await response.json()) as Record<string, unknown> };
}

describe('POST /v1/publish', () => {
  it('publishes one message and keeps its data byte for byte', async () => {
    const { status, answer } = await post('{ "topic" : "a", "data" : {"n":12345678901234567890 , "n":1.0} }');
    expect(status).toBe(200);
    expect(answer).toMatchObject({ duplicate: false, offset: server.log.head.offset });
    expect((await contents(server.log)).at(-1)!.data).toBe('{"n":12345678901234567890 , "n":1.0}');
  });

  it('publishes an array in order', async () => {
    const { status, answer } = await post(
      '[{"topic":"x","data":1},{"topic":"y","data":"2"},{"topic":"z","durability":"none","data":3}]',
    );
    expect(status).toBe(200);
    const { head } = server.log;
    expect(answer.results).toEqual([
      { offset: head.offset - 1, cursor: expect.any(String), duplicate: false },
      { offset: head.offset, cursor: expect.any(String), duplicate: false },
      { duplicate: false },
    ]);
    expect((await contents(server.log)).slice(-2).map(({ topic, data }) => [topic, data])).toEqual([
      ['x', '1'],
      ['y', '"2"'],
    ]);
  });

  it('answers 202 for one message of durability none, and takes an empty array', async () => {
    expect(await post('{"topic":"x","data":1,"durability":"none"}')).toEqual({ status: 202, answer: {} });
    expect(await post('[]')).toEqual({ status: 200, answer: { results: [] } });
  });

  it.each([undefined, 'application/x-www-form-urlencoded', 'text/plain;charset=UTF-8', 'application/vnd.x+json'])(
    'takes JSON sent as %s',
    async type => expect((await post('{"topic":"x","data":1}', type)).status).toBe(200),
  );

  it('decodes base64', async () => {
    expect((await post('{"topic":"b","contentType":"image/png","encoding":"base64","data":"AP8="}')).status).toBe(200);
    expect((await contents(server.log)).at(-1)!.record).toMatchObject({ contentType: 'image/png' });
    expect([...(await contents(server.log)).at(-1)!.record.data]).toEqual([0, 255]);
  });

  it('cannot be used to forge an envelope', async () => {
    for (const field of ['offset', 'time', 'by'])
      expect(await post(`{"topic":"x","data":1,"${field}":1}`)).toMatchObject({
        status: 400,
        answer: { code: 'unknown_field', at: { field } },
      });
  });

  const bad: [string, string | Uint8Array, string, object?][] = [
    ['nothing', '', 'bad_request'],
    ['no JSON', 'hello', 'bad_request'],
    ['half of JSON', '[{"topic":"x"', 'bad_request'],
    ['two values', '{"topic":"x","data":1}{"topic":"x","data":1}', 'bad_request'],
    ['a number', '1', 'bad_request'],
    ['null', 'null', 'bad_request'],
    ['bad UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 'payload_invalid'],
    ['a bad message in an array', '[{"topic":"x","data":1},{"topic":"a//b","data":1}]', 'topic_invalid', { index: 1 }],
    ['an element that is no object', '[{"topic":"x","data":1},2]', 'bad_request', { index: 1 }],
    ['too many messages', `[${Array(6).fill('{"topic":"x","data":1}').join()}]`, 'payload_too_large'],
    ['a message that is too large', `[{"topic":"x","data":"${'y'.repeat(1001)}"}]`, 'payload_too_large', { index: 0 }],
    ['an unknown field', '{"topic":"x","data":1,"retain":true}', 'unknown_field', { field: 'retain' }],
    ['a field kept for later', '{"to":"user/1","data":1}', 'unsupported', { field: 'to' }],
    ['__proto__', '{"topic":"x","data":1,"__proto__":{"topic":"y"}}', 'unknown_field'],
    [
      '__proto__ among the headers',
      '{"topic":"x","data":1,"headers":{"__proto__":"y"}}',
      'bad_request',
      { field: 'headers' },
    ],
    [
      '__proto__ as headers',
      '{"topic":"x","data":1,"headers":{"__proto__":{"polluted":"y"}}}',
      'bad_request',
      { field: 'headers' },
    ],
    ['a lone surrogate in text', '{"topic":"x","contentType":"text/plain","data":"\\ud800"}', 'payload_invalid'],
    [
      'binary that is no base64',
      '{"topic":"x","contentType":"image/png","encoding":"base64","data":"?"}',
      'payload_invalid',
    ],
    ['base64 that is no JSON', '{"topic":"x","encoding":"base64","data":"AP8="}', 'payload_invalid'],
    ['an encoding we do not have', '{"topic":"x","encoding":"gzip","data":"AP8="}', 'bad_request'],
    ['no topic', '{"data":1}', 'topic_invalid'],
    ['no data', '{"topic":"x"}', 'payload_invalid'],
  ];
  it.each(bad)('refuses %s whole, and nothing else', async (_name, body, code, at) => {
    await besideOthers(server, async () => {
      const before = server.log.head.offset;
      const { status, answer } = await post(body);
      expect(answer).toMatchObject({ code, status, ...(at === undefined ? {} : { at }) });
      expect(server.log.head.offset).toBe(before);
      expect({}).not.toHaveProperty('polluted');
    });
  });

  it.each([
    ['of too many messages', `[${Array(6).fill('{"topic":"x","data":1}').join()}]`, 'limits.items'],
    [
      'of too many bytes',
      `[${Array(5)
        .fill(`{"topic":"x","data":"${'y'.repeat(900)}"}`)
        .join()}]`,
      'limits.body',
    ],
  ])('tells an array %s to come as NDJSON, since it is checked whole', async (_, body, setting) => {
    const { status, answer } = await post(body);
    expect(status).toBe(413);
    expect(answer.detail).toContain(setting);
    expect(answer.detail).toMatch(/checked whole first; send NDJSON \(.*application\/x-ndjson\).*any size/);
  });

  const beside: [string, string, string, string][] = [
    ['Tailrace-Id', 'unknown_field', 'tailrace-id', 'no header tailrace-id here'],
    ['Tailrace-Durability', 'unknown_field', 'tailrace-durability', 'as members'],
    ['Tailrace-Header-Reply-To', 'unknown_field', 'tailrace-header-reply-to', 'Tailrace-Deadline'],
    ['Tailrace-TTL', 'unsupported', 'ttl', 'later version'],
  ];
  it.each(beside)('refuses the header %s, and does not ignore it', async (name, code, field, detail) => {
    const before = server.log.head.offset;
    for (const type of ['application/json', 'application/x-ndjson']) {
      const response = await fetch(`${server.url}/v1/publish`, {
        method: 'POST',
        body: '{"topic":"x","data":1}',
        headers: { 'content-type': type, [name]: 'none' },
      });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ code, at: { field }, detail: expect.stringContaining(detail) });
    }
    expect(server.log.head.offset).toBe(before);
  });

  it('hints at NDJSON when several values come as JSON', async () => {
    const { answer } = await post('{"topic":"x","data":1}\n{"topic":"x","data":1}');
    expect(answer.detail).toMatch(/x-ndjson.*--data-binary/);
  });

  it.each(['multipart/form-data; boundary=x', 'image/png', 'application/xml'])('refuses %s', async type => {
    const refused = await besideOthers(server, () => post('x', type));
    expect(refused).toMatchObject({ status: 415, answer: { code: 'media_type_unsupported' } });
  });

  it('says what was accepted when the log refuses in the middle', async () => {
    await post('{"topic":"over","end":true}');
    const { status, answer } = await post('[{"topic":"x","data":1},{"topic":"over","data":2},{"topic":"x","data":3}]');
    expect(status).toBe(409);
    expect(answer).toMatchObject({
      code: 'topic_ended',
      accepted: 1,
      at: { index: 1 },
      results: [{ duplicate: false }, { error: { code: 'topic_ended' } }, { error: { code: 'not_attempted' } }],
    });
    expect((await contents(server.log)).at(-1)!.data).toBe('1');
  });

  it('refuses while it drains', async () => {
    server.hub.publisher.draining = true;
    try {
      expect(await post('{"topic":"x","data":1}')).toMatchObject({
        status: 503,
        answer: { code: 'draining', outcome: 'none' },
      });
    } finally {
      server.hub.publisher.draining = false;
    }
  });
});
