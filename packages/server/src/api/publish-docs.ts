import { deadlineMin, durabilities } from '@tailrace/protocol';
import { publishFields } from './publish-fields.ts';
import type { Parameter, RouteDoc } from './route.ts';
import { ref } from './schemas.ts';

const about: Readonly<Record<(typeof publishFields)[number], Parameter>> = {
  id: { type: 'text', description: 'makes a repeated publish a duplicate' },
  key: { type: 'text', description: 'key of the message; without a body it deletes the key' },
  expect: {
    type: 'text',
    description: 'absent, or the offset of the record that must be the newest of the key: else expect_failed',
    example: 'absent',
  },
  event: { type: 'text', description: 'name of the event' },
  producer: { type: 'text', description: 'with sequence: recognises duplicates without an id each' },
  sequence: { type: 'integer', description: 'number of the message of this producer' },
  durability: { type: 'choice', choices: durabilities, description: 'what the ack promises' },
  lane: { type: 'choice', choices: ['normal'], description: 'urgent is kept for a later version' },
  end: { type: 'choice', choices: ['true', 'false'], description: 'true ends the topic' },
};

const deadline: Parameter = {
  type: 'integer',
  min: deadlineMin,
  description: 'ms until the publish is answered; at most, and by default, the setting publish.deadline',
};

const publishErrors = [
  'topic_invalid',
  'publish_forbidden',
  'payload_invalid',
  'payload_too_large',
  'media_type_unsupported',
  'request_timeout',
  'topic_ended',
  'sequence_too_old',
  'expect_failed',
  'log_full',
  'log_fenced',
  'outcome_unknown',
  'overloaded',
  'deadline_exceeded',
  'draining',
] as const;

/** The publish paths, which node:http handlers serve in front of Fastify. */
export const publishDocs: readonly RouteDoc[] = [
  {
    method: 'POST',
    path: '/v1/topics/{topic}',
    summary: 'Publish the body as one message',
    tag: 'publish',
    pathParameters: { topic: 'the topic, its levels percent-encoded; slashes stay' },
    query: { ...about, deadline },
    headers: {
      'Tailrace-*': `${[...publishFields, 'deadline'].join(', ')}: the same as the query parameters; give each once`,
      'Tailrace-Header-*': 'headers of the message: Tailrace-Header-Reply-To is "reply-to"',
    },
    body: { '*/*': { description: 'the payload; its content type decides how subscribers get it' } },
    answers: {
      200: { description: 'committed', contentType: 'application/json', schema: ref('Published') },
      202: {
        description: 'durability none: passed on; or spooled: on disk here until the engine is back',
        contentType: 'application/json',
        schema: { type: 'object' },
      },
    },
    errors: publishErrors,
  },
  {
    method: 'POST',
    path: '/v1/publish',
    summary: 'Publish one message, an array of messages, or lines of them',
    tag: 'publish',
    query: { deadline },
    headers: { 'Tailrace-Deadline': 'the same as the query parameter; give it once' },
    body: {
      'application/json': { oneOf: [ref('Message'), { type: 'array', items: ref('Message') }] },
      'application/x-ndjson': { description: 'a message a line, appended as it arrives', ...ref('Message') },
    },
    answers: {
      200: {
        description:
          'committed: the result of one message, `results` of an array, or for lines progress and a last line with `done` or `error`',
        contentType: 'application/json',
        schema: {
          oneOf: [
            ref('Published'),
            {
              type: 'object',
              required: ['results'],
              properties: { results: { type: 'array', items: ref('Published') } },
            },
          ],
        },
      },
      202: {
        description: 'durability none: passed on; or spooled: on disk here until the engine is back',
        contentType: 'application/json',
        schema: { type: 'object' },
      },
    },
    errors: publishErrors,
  },
];
