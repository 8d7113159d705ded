import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { decodePath, type FrameLimits, TailraceError } from '@tailrace/protocol';
import { corsHeaders, type HeaderList, type OriginPolicy, preflightHeaders } from '../admission/index.ts';
import type { Hub } from '../hub/index.ts';
import type { Clock } from '../log/index.ts';
import type { Metrics } from '../observe/index.ts';
import { absoluteForm } from './absolute-form.ts';
import { Answers } from './answers.ts';
import { BehindFastify } from './behind-fastify.ts';
import { Bodies, type BodyUse, hasBody } from './bodies.ts';
import { openApi } from './openapi.ts';
import { pageRoutes } from './pages.ts';
import { Paths } from './paths.ts';
import { PublishRoutes } from './publish.ts';
import { publishDocs } from './publish-docs.ts';
import { Answer, type ApiRoute, type PlainRoute, type RouteDoc } from './route.ts';
import { deleteTopicRoute } from './routes/delete-topic.ts';
import { discoveryRoute } from './routes/discovery.ts';
import { aliveRoute, readyRoute } from './routes/health.ts';
import { metricsRoute } from './routes/metrics.ts';
import { nodesRoute } from './routes/nodes.ts';
import { replayRoute } from './routes/replay.ts';
import { sessionRoute, sessionsRoute } from './routes/sessions.ts';
import { stateRoute } from './routes/state.ts';
import { topicsRoute } from './routes/topics.ts';
import { topicsPath } from './topic-path.ts';

/** The settings that the API looks at; sizes in bytes, times in ms. */
export interface ApiSettings {
  readonly heartbeat: number;
  readonly dedupe: { readonly ids: number; readonly age: number };
  readonly body: { readonly timeout: number };
  readonly stall: { readonly max: number };
  readonly limits: { readonly body: number };
}

export interface ApiOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly origins: OriginPolicy;
  readonly metrics: Metrics;
  readonly limits: FrameLimits;
  readonly config: ApiSettings;
  /** Name and version. */
  readonly server: string;
  /** Routes of other rooms, in front of the API's own. */
  readonly routes: readonly PlainRoute[];
  readonly features?: readonly string[];
  readonly isDraining: () => boolean;
  /** A fault of the server under a request: for its log. */
  readonly onFault: (error: unknown) => void;
  /** Directory of the live page; by default the one that comes with the package. */
  readonly pages?: string;
}

/** What `OPTIONS *` tells: the methods that some path takes. */
const everyMethod: ReadonlySet<string> = new Set(['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST']);

/**
 * Everything that HTTP offers beside streams: publishing by plain node:http handlers, the rest behind Fastify. Each
 * request passes the origin policy first, whatever its path.
 */
export class Api {
  readonly #origins: OriginPolicy;
  readonly #answers: Answers;
  readonly #bodies: Bodies;
  readonly #publish: PublishRoutes;
  readonly #plain = new Map<string, PlainRoute>();
  readonly #behind: BehindFastify;
  readonly #paths = new Paths();
  readonly #isDraining: () => boolean;
  readonly #stopWatch: () => void;
  /** What openapi.json shows. */
  readonly docs: readonly RouteDoc[];

  constructor(options: ApiOptions) {
    const { hub, clock, metrics, limits, config } = options;
    this.#origins = options.origins;
    this.#isDraining = options.isDraining;
    this.#answers = new Answers(options.onFault);
    this.#bodies = new Bodies(this.#answers, clock, config.body.timeout);
    this.#publish = new PublishRoutes({
      hub,
      answers: this.#answers,
      bodies: this.#bodies,
      limits,
      bodyMax: config.limits.body,
      counts: metrics.publishes,
    });
    const reading = { hub, limits, answers: this.#answers, bodies: this.#bodies, stallMax: config.stall.max };
    const routes: ApiRoute[] = [
      discoveryRoute({
        server: options.server,
        protocols: ['tailrace.v1.json'],
        transports: ['sse', 'websocket', 'poll'],
        features: options.features ?? [],
        heartbeat: config.heartbeat,
        durabilities: limits.durabilities,
        dedupe: { ids: config.dedupe.ids, age: config.dedupe.age },
        limits: numbersOf(config.limits),
      }),
      replayRoute(reading),
      stateRoute(reading),
      topicsRoute(hub.log),
      deleteTopicRoute(hub, limits),
      sessionsRoute(hub, limits),
      sessionRoute(hub),
      nodesRoute(hub.log),
      aliveRoute,
      readyRoute(hub),
      metricsRoute(metrics),
      this.#openApiRoute(options.server),
      ...pageRoutes(options.pages ?? fileURLToPath(new URL('../../pages', import.meta.url))),
    ];
    this.#behind = new BehindFastify(routes, this.#answers);
    for (const route of options.routes) this.#plain.set(`${route.method} ${route.path}`, route);
    const docs = options.routes.flatMap(({ doc }) => (doc === undefined ? [] : [doc]));
    this.docs = [...publishDocs, ...docs, ...routes.filter(({ tag }) => tag !== 'pages')];
    for (const { method, path } of [...publishDocs, ...options.routes, ...routes]) this.#paths.add(method, path);
    this.#stopWatch = clock.every(100, () => this.#watchDrain());
  }

  /** The listener for `request` and `checkContinue`. */
  readonly handle = (req: IncomingMessage, res: ServerResponse): void => {
    try {
      this.#route(req, res);
    } catch (error) {
      this.#bodies.refuse(req, res, [], error);
    }
  };

  /** Open NDJSON requests end after what they have sent; every answer closes its connection from now on. */
  drain(): void {
    this.#answers.closing = true;
    this.#publish.drain();
  }

  async close(): Promise<void> {
    this.drain();
    this.#stopWatch();
    await this.#behind.close();
    this.#bodies.close();
  }

  #watchDrain(): void {
    if (!this.#answers.closing && this.#isDraining()) this.drain();
  }

  #route(req: IncomingMessage, res: ServerResponse): void {
    const { headers } = req;
    let url = req.url ?? '/';
    let { host } = headers;
    const absolute = absoluteForm(url);
    if (absolute !== undefined) {
      ({ host, url } = absolute);
      req.url = url;
    }
    const verdict = this.#origins.check({
      host: onlyOneHost(req) ? host : undefined,
      origin: headers.origin,
      secFetchSite: headers['sec-fetch-site'] as string | undefined,
    });
    if ('error' in verdict) {
      this.#bodies.refuse(req, res, [], verdict.error);
      return;
    }
    const cors = corsHeaders(verdict.allowOrigin);
    const question = url.indexOf('?');
    const path = question === -1 ? url : url.slice(0, question);
    const query = question === -1 ? '' : url.slice(question + 1);
    const { method } = req;
    if (method === 'POST' && path.startsWith(topicsPath)) {
      this.#publish.topic(req, res, path.slice(topicsPath.length), query, cors);
      return;
    }
    if (method === 'POST' && path === '/v1/publish') {
      this.#publish.batch(req, res, query, cors);
      return;
    }
    this.#others(req, res, path, query, cors, verdict.allowOrigin);
  }

  #others(
    req: IncomingMessage,
    res: ServerResponse,
    path: string,
    query: string,
    cors: HeaderList,
    allowOrigin: string | undefined,
  ): void {
    const method = req.method!;
    // a HEAD is answered by who answers the GET
    const plain = this.#plain.get(`${method === 'HEAD' ? 'GET' : method} ${path}`);
    if (plain !== undefined) {
      this.#servePlain(plain, req, res, query, cors);
      return;
    }
    const methods = method === 'OPTIONS' && path === '*' ? everyMethod : this.#paths.methods(path);
    if (methods === undefined) {
      decodePath(path);
      const error = new TailraceError(
        'not_found',
        `no path ${JSON.stringify(path.slice(0, 100))}; GET /openapi.json lists them`,
      );
      this.#bodies.refuse(req, res, cors, error);
      return;
    }
    const allowed = [...methods].join(', ');
    if (method === 'OPTIONS') {
      const { headers } = req;
      const answer = preflightHeaders(allowOrigin, {
        methods: allowed,
        requestHeaders: headers['access-control-request-headers'] as string | undefined,
        privateNetwork: headers['access-control-request-private-network'] as string | undefined,
      });
      res.writeHead(204, [...answer]);
      res.end();
      return;
    }
    if (!methods.has(method)) {
      const error = new TailraceError(
        'method_not_allowed',
        `${method} is not offered on this path; it takes ${allowed}`,
      );
      this.#bodies.refuse(req, res, cors, error, ['Allow', allowed]);
      return;
    }
    if (hasBody(req)) {
      this.#bodies.refuse(req, res, cors, new TailraceError('bad_request', `a ${method} of this path takes no body`));
      return;
    }
    this.#behind.handle(req, res, cors);
  }

  #servePlain(route: PlainRoute, req: IncomingMessage, res: ServerResponse, query: string, cors: HeaderList): void {
    const serve = (body: Buffer): void => {
      try {
        const handled = route.handle(req, res, query, cors, body);
        handled?.catch((error: unknown) => this.#answers.problem(res, error, cors));
      } catch (error) {
        this.#answers.problem(res, error, cors);
      }
    };
    if (route.bodyMax !== undefined) this.#bodies.collect(req, res, cors, questionOf(route.bodyMax), takePlain, serve);
    else if (hasBody(req))
      this.#bodies.refuse(
        req,
        res,
        cors,
        new TailraceError('bad_request', `a ${route.method} of this path takes no body`),
      );
    else serve(noBody);
  }

  #openApiRoute(server: string): ApiRoute {
    let text: string | undefined;
    return {
      method: 'GET',
      path: '/openapi.json',
      summary: 'This description',
      tag: 'server',
      query: {},
      answers: { 200: { description: 'OpenAPI 3.1', contentType: 'application/json', schema: { type: 'object' } } },
      errors: [],
      handle: () => {
        text ??= JSON.stringify(openApi(server.slice(server.indexOf('/') + 1), this.docs));
        return new Answer(200, 'application/json', text);
      },
    };
  }
}

export function createApi(options: ApiOptions): Api {
  return new Api(options);
}

const noBody: Buffer = Buffer.alloc(0);

/** A body that asks for something and publishes nothing. */
function questionOf(max: number): BodyUse {
  return {
    max,
    tooLarge: `the body has more than the ${max} bytes that this path takes`,
    tooSlow: 'the body stopped arriving',
  };
}

function takePlain(
  _req: IncomingMessage,
  _res: ServerResponse,
  _cors: HeaderList,
  body: Buffer,
  serve: (body: Buffer) => void,
): void {
  serve(body);
}

// node:http drops all but the first; which of them a proxy looked at is anybody's guess
function onlyOneHost({ rawHeaders }: IncomingMessage): boolean {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === 4 && (name === 'Host' || name === 'host' || name.toLowerCase() === 'host')) hosts++;
  }
  return hosts <= 1;
}

function numbersOf(limits: object): Record<string, number> {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => typeof value === 'number')) as Record<
    string,
    number
  >;
}
