import { type ErrorCode, errorTable } from '@tailrace/protocol';
import type { Parameter, RouteDoc, Schema } from './route.ts';
import { components, ref } from './schemas.ts';

/** Errors that any path may answer with. */
const anyErrors: readonly ErrorCode[] = [
  'bad_request',
  'unknown_field',
  'method_not_allowed',
  'origin_refused',
  'host_refused',
  'headers_too_large',
  'internal',
];

/** OpenAPI 3.1 of these routes. */
export function openApi(version: string, routes: readonly RouteDoc[]): Schema {
  const paths: Record<string, Record<string, Schema>> = {};
  for (const route of routes) {
    const path = (paths[route.path] ??= {});
    path[route.method.toLowerCase()] = operation(route);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Tailrace',
      version,
      description: 'Real-time push server: every message goes into one log, every subscription is a cursor on it.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    components: { schemas: components },
  };
}

function operation(route: RouteDoc): Schema {
  const parameters = [
    ...Object.entries(route.pathParameters ?? {}).map(([name, description]) => ({
      name,
      in: 'path',
      required: true,
      description,
      schema: { type: 'string' },
    })),
    ...Object.entries(route.query).map(([name, parameter]) => ({
      name,
      in: 'query',
      required: parameter.required === true,
      description: parameter.description,
      schema: parameterSchema(parameter),
    })),
    ...Object.entries(route.headers ?? {}).map(([name, description]) => ({
      name,
      in: 'header',
      description,
      schema: { type: 'string' },
    })),
  ];
  return {
    operationId: operationId(route),
    summary: route.summary,
    tags: [route.tag],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined ? {} : { requestBody: { required: true, content: content(route.body) } }),
    responses: responses(route),
  };
}

function operationId({ method, path }: RouteDoc): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter(word => word !== '');
  return method.toLowerCase() + words.map(word => word[0]!.toUpperCase() + word.slice(1)).join('');
}

function parameterSchema({ type, many, min, max, choices, default: usual, example }: Parameter): Schema {
  const one: Schema = {
    type: type === 'integer' ? 'integer' : 'string',
    ...(min === undefined ? {} : { minimum: min }),
    ...(max === undefined ? {} : { maximum: max }),
    ...(choices === undefined ? {} : { enum: choices }),
    ...(usual === undefined ? {} : { default: usual }),
    ...(example === undefined ? {} : { examples: [example] }),
  };
  return many === true ? { type: 'array', items: one } : one;
}

function responses(route: RouteDoc): Schema {
  const all: Record<string, Schema> = {};
  for (const [status, { description, contentType, schema }] of Object.entries(route.answers)) {
    all[status] = {
      description,
      ...(contentType === undefined ? {} : { content: { [contentType]: schema === undefined ? {} : { schema } } }),
    };
  }
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set([...route.errors, ...anyErrors])) {
    const { status } = errorTable[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  for (const [status, codes] of byStatus) {
    all[status] ??= {
      description: codes.map(code => `\`${code}\`: ${errorTable[code].title}`).join('; '),
      content: { 'application/problem+json': { schema: ref('Problem') } },
    };
  }
  return all;
}

function content(body: Readonly<Record<string, Schema>>): Schema {
  return Object.fromEntries(Object.entries(body).map(([type, schema]) => [type, { schema }]));
}
