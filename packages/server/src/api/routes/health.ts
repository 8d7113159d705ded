import type { Hub } from '../../hub/index.ts';
import { Answer, type ApiRoute, type Schema } from '../route.ts';

const healthSchema: Schema = {
  type: 'object',
  required: ['status'],
  properties: { status: { type: 'string' }, reason: { type: 'string' } },
};

/** `GET /healthz`: the process answers. */
export const aliveRoute: ApiRoute = {
  method: 'GET',
  path: '/healthz',
  summary: 'Whether the server is alive',
  tag: 'server',
  query: {},
  answers: { 200: { description: 'alive', contentType: 'application/json', schema: healthSchema } },
  errors: [],
  handle: ({ header }) => {
    header('Cache-Control', 'no-store');
    return { status: 'alive' };
  },
};

/** `GET /readyz`: it takes publishes and connections. */
export function readyRoute(hub: Hub): ApiRoute {
  return {
    method: 'GET',
    path: '/readyz',
    summary: 'Whether the server takes publishes and connections',
    tag: 'server',
    query: {},
    answers: {
      200: { description: 'ready', contentType: 'application/json', schema: healthSchema },
      503: { description: 'not ready, and why', contentType: 'application/json', schema: healthSchema },
    },
    errors: [],
    handle: ({ header }) => {
      header('Cache-Control', 'no-store');
      const reason = notReady(hub);
      if (reason === undefined) return { status: 'ready' };
      return new Answer(503, 'application/json', JSON.stringify({ status: 'not ready', reason }));
    },
  };
}

function notReady(hub: Hub): string | undefined {
  if (hub.publisher.draining) return 'the server is shutting down';
  const { engineOut } = hub.publisher;
  if (engineOut !== undefined) return `the engine does not answer: ${engineOut}`;
  const { state, reason } = hub.log.status;
  if (state === 'open') return undefined;
  return `the log is ${state}${reason === undefined ? '' : `: ${reason}`}`;
}
