import { isTailraceError, parseQuery, TailraceError, toTailraceError } from '@tailrace/protocol';
import type { Gateway } from '../gateway.ts';
import type { RequestHead } from '../request-head.ts';
import { answerProblem, type Responder } from '../responder.ts';
import { queryOf } from '../sse.ts';
import { WebSocketConnection } from './connection.ts';
import { handshake } from './handshake.ts';

const protocols = ['tailrace.v1.json'] as const;

/** GET /v1/ws (§7): shakes hands on the socket and hands it to a connection. `rest`: bytes that came behind the head. */
export function upgradeToWebSocket(
  gateway: Gateway,
  method: string,
  httpVersion: string,
  head: RequestHead,
  responder: Responder,
  rest: Buffer,
  corsHeaders: readonly string[],
): void {
  const { socket } = responder;
  try {
    gateway.admit();
    parseQuery(queryOf(head.target), []);
    const answer = handshake({ method, httpVersion, header: name => head.header(name) }, protocols);
    if (!answer.ok) {
      gateway.countRefused(answer.code);
      answerProblem(responder, new TailraceError(answer.code, answer.detail), [
        ...Object.entries(answer.headers).flat(),
        ...corsHeaders,
      ]);
      return;
    }
    socket.write(answer.head);
    const connection = new WebSocketConnection(gateway, socket, gateway.receiverLimits);
    if (rest.length > 0) connection.received(rest);
    socket.resume();
  } catch (error) {
    if (!isTailraceError(error)) gateway.o.onFault(error);
    const refusal = toTailraceError(error);
    gateway.countRefused(refusal.code);
    answerProblem(responder, refusal, corsHeaders);
  }
}
