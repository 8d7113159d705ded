import { durabilities, type ErrorCode, errorTable } from '@tailrace/protocol';
import type { Schema } from './route.ts';

/** The shapes that several routes speak of: the components of openapi.json. */

const time: Schema = { type: 'integer', description: 'ms since 1970 UTC' };
const headers: Schema = { type: 'object', additionalProperties: { type: 'string' } };

export const messageSchema: Schema = {
  type: 'object',
  required: ['topic'],
  additionalProperties: false,
  properties: {
    topic: { type: 'string', description: 'levels joined by "/"', examples: ['iot/device/7/temperature'] },
    data: { description: 'any JSON value; a string for text/* types; base64 with "encoding"' },
    encoding: { const: 'base64' },
    contentType: { type: 'string', maxLength: 128, description: 'left out for JSON' },
    event: { type: 'string', maxLength: 64, description: "name of the event, SSE's event:" },
    id: { type: 'string', maxLength: 128, description: 'unique per topic: a repeated publish with it is a duplicate' },
    producer: { type: 'string', maxLength: 128 },
    sequence: { type: 'integer', minimum: 0, description: 'with producer: recognises duplicates without an id each' },
    key: { type: 'string', maxLength: 512, description: 'with key and no data: deletes the key' },
    expect: {
      description: 'what must be the newest record of the key, else the publish is refused as expect_failed',
      oneOf: [
        {
          type: 'object',
          required: ['offset'],
          additionalProperties: false,
          properties: { offset: { type: 'integer', minimum: 1 } },
        },
        {
          type: 'object',
          required: ['absent'],
          additionalProperties: false,
          properties: { absent: { const: true } },
        },
      ],
    },
    headers,
    durability: { enum: durabilities, description: 'what the ack promises; the default is the setting or the rule' },
    lane: { const: 'normal' },
    end: { type: 'boolean', description: 'ends the topic: later publishes to it are refused' },
  },
};

export const envelopeSchema: Schema = {
  type: 'object',
  required: ['topic', 'time'],
  properties: {
    topic: { type: 'string' },
    offset: { type: 'integer', description: 'absent for durability none' },
    time,
    id: { type: 'string' },
    key: { type: 'string' },
    by: { type: 'string' },
    event: { type: 'string' },
    headers,
    contentType: { type: 'string' },
    data: {},
    encoding: { const: 'base64' },
    end: { const: true },
  },
};

export const publishedSchema: Schema = {
  type: 'object',
  required: ['offset', 'cursor', 'duplicate'],
  properties: {
    offset: { type: 'integer' },
    cursor: { type: 'string', description: 'resume point just after this message' },
    duplicate: { type: 'boolean', description: 'it was there already; offset and cursor are of the first' },
  },
};

export const problemSchema: Schema = {
  type: 'object',
  description: 'RFC 9457 problem',
  required: ['code', 'title', 'status', 'detail', 'retry'],
  properties: {
    code: { enum: Object.keys(errorTable) as ErrorCode[] },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    retry: { enum: ['never', 'later', 'reauth'] },
    retryAfter: { type: 'integer', description: 'ms' },
    outcome: { enum: ['none', 'unknown'], description: 'whether the publish may have been appended all the same' },
    at: {
      type: 'object',
      properties: {
        index: { type: 'integer' },
        line: { type: 'integer' },
        field: { type: 'string' },
        sub: { type: 'string' },
      },
    },
    current: {
      oneOf: [{ $ref: '#/components/schemas/Envelope' }, { type: 'null' }],
      description: 'of expect_failed: the newest record of the key, without data when that is large; null when absent',
    },
    accepted: { type: 'integer', description: 'messages of the request that were appended' },
    results: { type: 'array' },
  },
};

export const components: Readonly<Record<string, Schema>> = {
  Message: messageSchema,
  Envelope: envelopeSchema,
  Published: publishedSchema,
  Problem: problemSchema,
};

export function ref(name: keyof typeof components & string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

/** Body of a POST that names subscriptions (§6). */
export const subscribeBody: Schema = {
  type: 'object',
  required: ['subscribe'],
  properties: {
    connect: { type: 'object' },
    subscribe: {
      type: 'array',
      items: {
        type: 'object',
        required: ['filter'],
        properties: {
          filter: { oneOf: [{ type: 'string' }, { type: 'array', items: { type: 'string' } }] },
          sub: { type: 'string' },
          cursor: { type: 'string' },
          from: { type: 'string' },
        },
      },
    },
  },
};
