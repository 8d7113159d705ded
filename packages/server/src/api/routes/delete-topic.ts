import { checkNotReserved, checkTopic, type InputLimits } from '@tailrace/protocol';
import type { Hub } from '../../hub/index.ts';
import { Answer, type ApiRoute, type Schema } from '../route.ts';
import { readTopic, topicsPath } from '../topic-path.ts';

const deleted: Schema = {
  type: 'object',
  required: ['topic', 'pending'],
  properties: {
    topic: { type: 'string' },
    offset: { type: 'integer', description: 'of the newest message that is deleted; left out when there was none' },
    cursor: { type: 'string', description: 'the place of that message' },
    pending: { type: 'boolean', description: 'files still hold some of it' },
  },
};

/** `DELETE /v1/topics/{topic}` (§4): deletes what a topic holds for good. */
export function deleteTopicRoute(hub: Hub, limits: InputLimits): ApiRoute {
  return {
    method: 'DELETE',
    path: '/v1/topics/{topic}',
    summary: 'Delete what a topic holds for good',
    tag: 'server',
    query: {},
    pathParameters: { topic: 'the topic, its levels percent-encoded; slashes stay; no wildcards' },
    answers: {
      200: {
        description: 'no file of the log holds a record of it any more',
        contentType: 'application/json',
        schema: deleted,
      },
      202: {
        description:
          'no reader gets its records any more, nor after a crash; files still hold some for a while: see the metric tailrace_log_deletions_pending',
        contentType: 'application/json',
        schema: deleted,
      },
    },
    errors: [
      'topic_invalid',
      'publish_forbidden',
      'log_full',
      'log_fenced',
      'outcome_unknown',
      'overloaded',
      'log_damaged',
      'draining',
    ],
    handle: async ({ req }) => {
      const [path = ''] = req.url!.slice(topicsPath.length).split('?');
      const topic = readTopic(path);
      checkTopic(topic, limits);
      checkNotReserved(topic);
      const { upTo, pending } = await hub.log.deleteTopic(topic);
      const newest = upTo === undefined ? {} : { offset: upTo.offset, cursor: hub.tokens.ofAppended(upTo) };
      return new Answer(pending ? 202 : 200, 'application/json', JSON.stringify({ topic, ...newest, pending }));
    },
  };
}
