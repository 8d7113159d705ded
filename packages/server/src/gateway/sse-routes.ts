import { isUtf8 } from 'node:buffer';
import { TailraceError } from '@tailrace/protocol';
import type { PlainRoute } from '../api/index.ts';
import type { Gateway } from './gateway.ts';
import { onTurn } from './responder.ts';
import { headerOf, serveSse, serveSseFrames } from './sse.ts';

/** Bytes of a POST that names subscriptions. */
const bodyMax = 256 * 1024;

/** Event streams that node:http read: kept-alive connections, odd heads, embedded servers, and POST. */
export function sseRoutes(gateway: Gateway): PlainRoute[] {
  return [
    {
      method: 'GET',
      path: '/v1/sse',
      handle(req, res, _query, cors) {
        const head = { target: req.url ?? '', header: (name: string) => headerOf(req, name) };
        onTurn(res, responder => serveSse(gateway, head, responder, cors));
      },
    },
    {
      method: 'POST',
      path: '/v1/sse',
      bodyMax,
      handle(req, res, _query, cors, body) {
        if (!isUtf8(body)) throw new TailraceError('bad_request', 'the body is not valid UTF-8, as JSON must be');
        onTurn(res, responder => serveSseFrames(gateway, req, responder, cors, body.toString()));
      },
    },
  ];
}
