import type { IncomingMessage, ServerResponse } from 'node:http';
import { setAside } from '@tailrace/protocol';
import type { Parameters, PlainRoute } from '../api/index.ts';
import { envelopeSchema, filterParameter, readQuery, subscribeBody } from '../api/index.ts';
import type { Gateway } from './gateway.ts';
import { PollAnswers } from './poll-answers.ts';
import { pollFrames } from './poll-frames.ts';
import { pollMessages } from './poll-messages.ts';

/** ms. */
export interface PollSettings {
  /** How long a request waits when it does not say. */
  readonly wait: number;
  /** Longest wait; a longer one asked for is cut to it. */
  readonly max: number;
}

/** Bytes of a POST that names subscriptions. */
const bodyMax = 256 * 1024;

/** `GET|POST /v1/poll` (§6): for clients behind proxies that hold back streams. */
export function pollRoutes(gateway: Gateway, settings: PollSettings): PlainRoute[] {
  const answers = new PollAnswers(gateway);
  const waiting: Parameters = {
    wait: {
      type: 'integer',
      default: settings.wait,
      description: `ms to wait for a message, at most ${settings.max}; 0 answers at once`,
    },
  };
  const subscription: Parameters = {
    filter: filterParameter,
    cursor: { type: 'text', description: 'of the answer before: goes on from there' },
    from: {
      type: 'text',
      description:
        'where to begin without a cursor: now (default), earliest, last, last:N, an RFC 3339 time, -5m, @<offset>',
    },
    ...waiting,
  };
  return [
    {
      method: 'GET',
      path: '/v1/poll',
      handle: (req: IncomingMessage, res: ServerResponse, text, cors) => {
        gateway.admit();
        const query = readQuery(text, subscription, setAside.subscription);
        const wait = req.method === 'HEAD' ? 0 : Math.min(query.integer('wait')!, settings.max);
        return pollMessages(gateway, answers, req, res, query, wait, cors);
      },
      doc: {
        method: 'GET',
        path: '/v1/poll',
        summary: 'Wait for messages (long-poll)',
        tag: 'read',
        query: subscription,
        answers: {
          200: {
            description: 'what came, or nothing when the wait was over; `cursor` is for the next request',
            contentType: 'application/json',
            schema: {
              type: 'object',
              required: ['messages', 'cursor', 'more', 'notices'],
              properties: {
                messages: { type: 'array', items: envelopeSchema },
                cursor: { type: 'string' },
                more: { type: 'boolean', description: 'there is more already: ask again at once' },
                notices: { type: 'array', items: { type: 'object' }, description: 'gap, reset, end, drain' },
              },
            },
          },
        },
        errors: [
          'filter_invalid',
          'too_many_filters',
          'cursor_invalid',
          'log_damaged',
          'too_many_connections',
          'draining',
        ],
      },
    },
    {
      method: 'POST',
      path: '/v1/poll',
      bodyMax,
      handle: (_req: IncomingMessage, res: ServerResponse, text, cors, body) => {
        gateway.admit();
        const wait = Math.min(readQuery(text, waiting).integer('wait')!, settings.max);
        return pollFrames(gateway, answers, res, body, wait, cors);
      },
      doc: {
        method: 'POST',
        path: '/v1/poll',
        summary: 'Wait for messages of several subscriptions (long-poll)',
        tag: 'read',
        query: waiting,
        body: {
          'application/json': subscribeBody,
        },
        answers: {
          200: {
            description: 'server frames, as a WebSocket would carry them',
            contentType: 'application/json',
            schema: {
              type: 'object',
              required: ['frames'],
              properties: { frames: { type: 'array', items: { type: 'object' } } },
            },
          },
        },
        errors: ['payload_too_large', 'too_many_connections', 'draining'],
      },
    },
  ];
}
