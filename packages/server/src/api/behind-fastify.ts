import type { IncomingMessage, ServerResponse } from 'node:http';
import { isTailraceError, TailraceError } from '@tailrace/protocol';
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import type { HeaderList } from '../admission/index.ts';
import type { Answers } from './answers.ts';
import { Answer, type ApiRoute, answered, type QueryValues, readQuery } from './route.ts';

const corsOf: unique symbol = Symbol('cors headers');

interface Checked extends IncomingMessage {
  [corsOf]?: HeaderList;
}

/** The routes that are not on the hot path, as a Fastify application without a server of its own. */
export class BehindFastify {
  readonly #app: FastifyInstance;
  readonly #answers: Answers;
  readonly #ready: Promise<unknown>;
  #isReady = false;

  constructor(routes: readonly ApiRoute[], answers: Answers) {
    this.#answers = answers;
    this.#app = fastify({
      logger: false,
      routerOptions: {
        // query strings are read by each route's own description
        querystringParser: () => ({}),
        maxParamLength: 256,
      },
      frameworkErrors: (error, request, reply) => {
        reply.hijack();
        this.#refuse(request.raw, reply.raw, error);
      },
    });
    // no route reads a body here: whatever type a client says it sends, an empty one is no fault
    this.#app.removeAllContentTypeParsers();
    this.#app.addContentTypeParser('*', (_request, payload, done) => {
      payload.resume();
      done(null);
    });
    this.#app.setErrorHandler((error, request, reply) => {
      reply.hijack();
      this.#refuse(request.raw, reply.raw, error);
    });
    this.#app.setNotFoundHandler((request, reply) => {
      reply.hijack();
      this.#refuse(request.raw, reply.raw, new TailraceError('not_found', 'no such path'));
    });
    for (const route of routes) this.#add(route);
    this.#ready = Promise.resolve(this.#app.ready()).then(() => {
      this.#isReady = true;
    });
  }

  /** Serves a request whose path and method are known to be one of the routes. */
  handle(req: IncomingMessage, res: ServerResponse, cors: HeaderList): void {
    (req as Checked)[corsOf] = cors;
    if (this.#isReady) this.#app.routing(req, res);
    else void this.#ready.then(() => this.#app.routing(req, res));
  }

  async close(): Promise<void> {
    await this.#ready;
    await this.#app.close();
  }

  #add(route: ApiRoute): void {
    this.#app.route({
      method: route.method,
      // a topic at the end spans levels
      url: route.path.replace(/\{topic\}$/, '*').replaceAll(/\{([^}]+)\}/g, ':$1'),
      handler: async (request, reply) => {
        const query = readQuery(queryText(request), route.query);
        await this.#answer(route, request, reply, query);
        return reply;
      },
    });
  }

  async #answer(route: ApiRoute, request: FastifyRequest, reply: FastifyReply, query: QueryValues): Promise<void> {
    const cors = (request.raw as Checked)[corsOf] ?? [];
    const given = await route.handle({
      req: request.raw,
      res: reply.raw,
      query,
      path: request.params as Readonly<Record<string, string>>,
      cors,
      header: (name, value) => void reply.header(name, value),
    });
    if (given === answered) {
      reply.hijack();
      return;
    }
    for (let i = 0; i < cors.length; i += 2) reply.header(cors[i]!, cors[i + 1]!);
    if (this.#answers.closing) reply.header('Connection', 'close');
    if (given instanceof Answer) reply.code(given.status).type(given.contentType).send(given.body);
    else reply.type('application/json').send(JSON.stringify(given));
  }

  #refuse(req: IncomingMessage, res: ServerResponse, error: unknown): void {
    this.#answers.problem(res, asTailraceError(error), (req as Checked)[corsOf] ?? []);
  }
}

function queryText({ raw }: FastifyRequest): string {
  const url = raw.url ?? '';
  const question = url.indexOf('?');
  return question === -1 ? '' : url.slice(question + 1);
}

/** What Fastify itself refuses, such as a broken percent-escape in a path, is the client's fault; the rest is ours. */
function asTailraceError(error: unknown): unknown {
  if (isTailraceError(error)) return error;
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  return statusCode !== undefined && statusCode >= 400 && statusCode < 500
    ? new TailraceError('bad_request', message ?? 'the request is malformed', { cause: error })
    : error;
}
