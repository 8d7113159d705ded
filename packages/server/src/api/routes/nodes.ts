import type { Log } from '../../log/index.ts';
import type { ApiRoute, Schema } from '../route.ts';

const nodeSchema: Schema = {
  type: 'object',
  required: ['id', 'name', 'address', 'version', 'since', 'silence', 'head', 'lag'],
  properties: {
    id: { type: 'string', description: 'another with each start' },
    name: { type: 'string', description: 'of its machine' },
    address: { type: 'string', description: 'where it listens; empty for one that does not' },
    version: { type: 'string' },
    since: { type: 'integer', description: 'of its start, ms since 1970 UTC' },
    silence: { type: 'integer', description: 'ms since it was heard of; gone at 90,000' },
    head: { type: 'integer', description: 'offset of the newest record that had come to it by then' },
    lag: { type: 'integer', description: 'records that the engine had beyond that' },
  },
};

/** `GET /v1/nodes`: the servers that share the log. */
export function nodesRoute(log: Log): ApiRoute {
  return {
    method: 'GET',
    path: '/v1/nodes',
    summary: 'The servers that share the log',
    tag: 'server',
    query: {},
    answers: {
      200: {
        description: 'this server first; none when the log is of one server',
        contentType: 'application/json',
        schema: {
          type: 'object',
          required: ['nodes'],
          properties: { nodes: { type: 'array', items: nodeSchema } },
        },
      },
    },
    errors: [],
    handle: ({ header }) => {
      header('Cache-Control', 'no-store');
      return { nodes: log.shared?.nodes?.all ?? [] };
    },
  };
}
