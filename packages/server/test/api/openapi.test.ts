import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ApiServer, startApi } from './api-server.ts';

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly required?: boolean }[];
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly content?: Record<string, { schema?: object }> }>
  >;
}

let server: ApiServer;
let api: {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};
beforeAll(async () => {
  server = await startApi();
  api = (await (await fetch(`${server.url}/openapi.json`)).json()) as typeof api;
});
afterAll(() => server[Symbol.asyncDispose]());

it('shows every route, and no other', async () => {
  const shown = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`),
  );
  expect(shown.sort()).toEqual(
    [
      'DELETE /v1/topics/{topic}',
      'GET /healthz',
      'GET /metrics',
      'GET /openapi.json',
      'GET /readyz',
      'GET /v1',
      'GET /v1/log',
      'GET /v1/nodes',
      'GET /v1/poll',
      'GET /v1/sessions',
      'GET /v1/sessions/{id}',
      'GET /v1/sse',
      'GET /v1/state',
      'GET /v1/topics',
      'GET /v1/ws',
      'POST /v1/poll',
      'POST /v1/publish',
      'POST /v1/sse',
      'POST /v1/topics/{topic}',
    ].sort(),
  );
  expect(server.api.docs.map(({ method, path }) => `${method} ${path}`).sort()).toEqual(shown.sort());
  // what is shown is served
  for (const route of shown) {
    const [method, path] = route.split(' ') as [string, string];
    const response = await fetch(server.url + path.replace('{id}', 'x').replace('{topic}', 'x'), { method });
    expect([route, response.status === 405 || (response.status === 404 && !path.includes('{id}'))]).toEqual([
      route,
      false,
    ]);
    await response.text();
  }
});

it('shows the deadline of a publish, wherever one is taken', () => {
  for (const path of ['/v1/topics/{topic}', '/v1/publish'])
    expect(api.paths[path]!.post!.parameters).toContainEqual({
      name: 'deadline',
      in: 'query',
      required: false,
      description: expect.stringContaining('publish.deadline'),
      schema: { type: 'integer', minimum: 10 },
    });
  expect(api.paths['/v1/publish']!.post!.parameters!.map(({ name }) => name)).toContain('Tailrace-Deadline');
});

it('is OpenAPI 3.1 whose references and schemas hold', () => {
  expect(api.openapi).toBe('3.1.0');
  const ajv = new Ajv2020({ strict: false });
  const root = { $id: 'root', ...api };
  ajv.addSchema(root);
  const text = JSON.stringify(api);
  for (const [, ref] of text.matchAll(/"\$ref":"(#[^"]*)"/g)) expect(ajv.getSchema(`root${ref}`)).toBeDefined();
  const ids = Object.values(api.paths).flatMap(methods => Object.values(methods).map(({ operationId }) => operationId));
  expect(new Set(ids).size).toBe(ids.length);
  for (const [path, methods] of Object.entries(api.paths)) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(match => match[1]);
    for (const { parameters = [] } of Object.values(methods))
      expect(parameters.filter(parameter => parameter.in === 'path').map(({ name }) => name)).toEqual(named);
  }
});

it('describes what is answered', async () => {
  const ajv = new Ajv2020({ strict: false });
  ajv.addSchema({ $id: 'root', ...api });
  const json = { 'content-type': 'application/json' };
  const calls: [string, string, string, RequestInit][] = [
    ['/v1', 'get', '/v1', {}],
    ['/v1/topics', 'get', '/v1/topics', {}],
    ['/v1/sessions', 'get', '/v1/sessions', {}],
    ['/healthz', 'get', '/healthz', {}],
    ['/readyz', 'get', '/readyz', {}],
    ['/v1/poll', 'get', '/v1/poll?filter=a&wait=0', {}],
    ['/v1/poll', 'post', '/v1/poll?wait=0', { method: 'POST', body: '{"subscribe":[{"filter":"a"}]}' }],
    ['/v1/topics/{topic}', 'post', '/v1/topics/a', { method: 'POST', body: '1', headers: json }],
    ['/v1/topics/{topic}', 'delete', '/v1/topics/a', { method: 'DELETE' }],
    ['/v1/topics/{topic}', 'delete', '/v1/topics/none/%C3%BC', { method: 'DELETE' }],
    ['/v1/publish', 'post', '/v1/publish', { method: 'POST', body: '[{"topic":"a","data":1}]', headers: json }],
    ['/v1/publish', 'post', '/v1/publish', { method: 'POST', body: '{"topic":"a","data":1}', headers: json }],
    ['/v1/topics/{topic}', 'post', '/v1/topics/a//b', { method: 'POST', body: '1' }],
    ['/v1/sessions/{id}', 'get', '/v1/sessions/none', {}],
    ['/v1/log', 'get', '/v1/log', {}],
  ];
  for (const [path, method, url, init] of calls) {
    const response = await fetch(server.url + url, init);
    const type = response.headers.get('content-type')!.split(';')[0]!;
    const described = api.paths[path]![method]!.responses[response.status];
    expect([url, Object.keys(described?.content ?? {})]).toEqual([url, [type]]);
    const pointer = ['paths', path, method, 'responses', String(response.status), 'content', type, 'schema'];
    const escaped = pointer.map(part => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');
    const validate = ajv.compile({ $ref: `root#/${escaped}` });
    const body: unknown = await response.json();
    expect([url, validate(body), validate.errors]).toEqual([url, true, null]);
  }
});
