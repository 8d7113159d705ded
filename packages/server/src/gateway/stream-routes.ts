import { isUtf8 } from 'node:buffer';
import { heartbeatMax, heartbeatMin, parseQuery, TailraceError } from '@tailrace/protocol';
import { filterParameter, type Parameters, type PlainRoute, type RouteDoc, subscribeBody } from '../api/index.ts';
import type { Gateway } from './gateway.ts';
import { onTurn } from './responder.ts';
import { headerOf, serveSse, serveSseFrames, serveSseHead } from './sse.ts';

/** Bytes of a POST that names subscriptions. */
const bodyMax = 256 * 1024;

const subscription: Parameters = {
  filter: filterParameter,
  cursor: { type: 'text', description: 'goes on behind this cursor; `Last-Event-ID` comes before it' },
  from: {
    type: 'text',
    description:
      'where to begin without a cursor: now (default), earliest, last, last:N, an RFC 3339 time, -5m, @<offset>',
  },
  raw: { type: 'text', description: '1: the payload alone instead of the envelope' },
  heartbeat: {
    type: 'integer',
    description: `longest silence of the stream, ms; cut to ${heartbeatMin} to ${heartbeatMax}`,
  },
};

const streamed: RouteDoc['answers'] = {
  200: { description: 'an event stream (docs/protocol.md §5)', contentType: 'text/event-stream' },
  204: { description: 'every topic named has ended: do not come back' },
};

/** Event streams that node:http read (kept-alive connections, odd heads, embedded servers), POST, and their docs. */
export function streamRoutes(gateway: Gateway): PlainRoute[] {
  return [
    {
      method: 'GET',
      path: '/v1/sse',
      handle(req, res, _query, cors) {
        const head = { target: req.url ?? '', header: (name: string) => headerOf(req, name) };
        const serve = req.method === 'HEAD' ? serveSseHead : serveSse;
        onTurn(res, responder => serve(gateway, head, responder, cors));
      },
      doc: {
        method: 'GET',
        path: '/v1/sse',
        summary: 'Receive messages as server-sent events',
        tag: 'read',
        query: subscription,
        answers: streamed,
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
      path: '/v1/sse',
      bodyMax,
      handle(req, res, query, cors, body) {
        parseQuery(query, []);
        if (!isUtf8(body)) throw new TailraceError('bad_request', 'the body is not valid UTF-8, as JSON must be');
        onTurn(res, responder => serveSseFrames(gateway, req, responder, cors, body.toString()));
      },
      doc: {
        method: 'POST',
        path: '/v1/sse',
        summary: 'Receive several subscriptions as server-sent events, each a WebSocket frame',
        tag: 'read',
        query: {},
        body: { 'application/json': subscribeBody },
        answers: { 200: streamed[200]! },
        errors: ['payload_too_large', 'too_many_connections', 'draining'],
      },
    },
    {
      // reached only without an upgrade: one that asks for it never comes this way
      method: 'GET',
      path: '/v1/ws',
      handle() {
        throw new TailraceError(
          'upgrade_required',
          'this path speaks WebSocket: connect with ws:// and Upgrade: websocket',
        );
      },
      doc: {
        method: 'GET',
        path: '/v1/ws',
        summary: 'Receive and publish over WebSocket (docs/protocol.md §7)',
        tag: 'read',
        query: {},
        answers: { 101: { description: 'frames follow, in subprotocol tailrace.v1.json' } },
        errors: ['upgrade_required', 'unsupported', 'too_many_connections', 'draining'],
      },
    },
  ];
}
