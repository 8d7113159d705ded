import type { Log } from '../../log/index.ts';
import type { ApiRoute } from '../route.ts';

/** `GET /v1/topics`: which topics hold messages, in order, a page at a time. */
export function topicsRoute(log: Log): ApiRoute {
  return {
    method: 'GET',
    path: '/v1/topics',
    summary: 'Topics that hold messages',
    tag: 'read',
    query: {
      prefix: { type: 'text', description: 'only topics that begin with this', default: '' },
      after: { type: 'text', description: 'the last topic of the page before', default: '' },
      limit: { type: 'integer', min: 1, max: 1000, default: 100, description: 'topics of one page' },
    },
    answers: {
      200: {
        description: 'a page in order of topic; `after` of the next one when there is `more`',
        contentType: 'application/json',
        schema: {
          type: 'object',
          required: ['topics', 'more'],
          properties: {
            topics: {
              type: 'array',
              items: {
                type: 'object',
                required: ['topic', 'offset', 'time'],
                properties: {
                  topic: { type: 'string' },
                  offset: { type: 'integer', description: 'of its newest message' },
                  time: { type: 'integer', description: 'of its newest message, ms since 1970 UTC' },
                },
              },
            },
            more: { type: 'boolean' },
            after: { type: 'string' },
          },
        },
      },
    },
    errors: ['log_damaged'],
    handle: async ({ query }) => {
      const limit = query.integer('limit')!;
      const found = await log.topics(query.text('prefix')!, query.text('after')!, limit + 1);
      const page = found.slice(0, limit);
      const more = found.length > limit;
      return {
        topics: page.map(({ topic, lastOffset, lastTime }) => ({ topic, offset: lastOffset, time: lastTime })),
        more,
        ...(more ? { after: page[page.length - 1]!.topic } : {}),
      };
    },
  };
}
