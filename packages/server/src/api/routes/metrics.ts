import type { Metrics } from '../../observe/index.ts';
import { Answer, type ApiRoute } from '../route.ts';

/** `GET /metrics`: Prometheus' text format. */
export function metricsRoute(metrics: Metrics): ApiRoute {
  return {
    method: 'GET',
    path: '/metrics',
    summary: 'Metrics for Prometheus',
    tag: 'server',
    query: {},
    answers: { 200: { description: 'the metrics', contentType: 'text/plain' } },
    errors: [],
    handle: async ({ header }) => {
      header('Cache-Control', 'no-store');
      return new Answer(200, metrics.contentType, await metrics.text());
    },
  };
}
