import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ErrorCode, parseQuery, TailraceError } from '@tailrace/protocol';
import type { HeaderList } from '../admission/index.ts';

/** A JSON schema, as OpenAPI 3.1 takes it. */
export type Schema = Readonly<Record<string, unknown>>;

/** One query parameter: what it may be, and how it is described. Read by `readQuery`, shown by openapi.json. */
export interface Parameter {
  readonly description: string;
  readonly type: 'text' | 'integer' | 'choice';
  /** May come more than once. */
  readonly many?: boolean;
  readonly required?: boolean;
  /** Bounds of an integer. */
  readonly min?: number;
  readonly max?: number;
  readonly choices?: readonly string[];
  readonly default?: string | number;
  readonly example?: string | number;
}

export type Parameters = Readonly<Record<string, Parameter>>;

export interface AnswerDoc {
  readonly description: string;
  readonly contentType?: string;
  readonly schema?: Schema;
}

/** What openapi.json says of a route; the parameters are also what its requests are checked by. */
export interface RouteDoc {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** In OpenAPI's spelling: `/v1/sessions/{id}`. */
  readonly path: string;
  readonly summary: string;
  readonly tag: string;
  readonly query: Parameters;
  readonly pathParameters?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** By content type. */
  readonly body?: Readonly<Record<string, Schema>>;
  readonly answers: Readonly<Record<number, AnswerDoc>>;
  /** Errors that are this route's own, beside those of any request. */
  readonly errors: readonly ErrorCode[];
}

/** Query parameters as they were read: integers as numbers, repeatable ones as lists. */
export class QueryValues {
  readonly #values: ReadonlyMap<string, string | number | readonly string[]>;

  constructor(values: ReadonlyMap<string, string | number | readonly string[]>) {
    this.#values = values;
  }

  text(name: string): string | undefined {
    return this.#values.get(name) as string | undefined;
  }

  integer(name: string): number | undefined {
    return this.#values.get(name) as number | undefined;
  }

  list(name: string): readonly string[] {
    return (this.#values.get(name) as readonly string[] | undefined) ?? [];
  }
}

/** Reads a query string by its description; throws for what does not fit. `later`: names that are set aside. */
export function readQuery(text: string, parameters: Parameters, later: readonly string[] = []): QueryValues {
  const query = parseQuery(text, Object.keys(parameters), later);
  const values = new Map<string, string | number | readonly string[]>();
  for (const [name, parameter] of Object.entries(parameters)) {
    const given = query.get(name);
    if (given === undefined) {
      // a list that is missing is an empty one, which its own check refuses by name
      if (parameter.required === true && parameter.many !== true)
        throw wrong(name, `is missing: ${parameter.description}`);
      if (parameter.default !== undefined) values.set(name, parameter.default);
      continue;
    }
    if (parameter.many === true) {
      values.set(name, given);
      continue;
    }
    if (given.length > 1) throw wrong(name, 'may be given once');
    values.set(name, readOne(name, given[0]!, parameter));
  }
  return new QueryValues(values);
}

function readOne(
  name: string,
  text: string,
  { type, min = 0, max = Number.MAX_SAFE_INTEGER, choices }: Parameter,
): string | number {
  if (type === 'text') return text;
  if (type === 'choice') {
    if (choices!.includes(text)) return text;
    throw wrong(name, `is ${choices!.join(' or ')}, not ${JSON.stringify(text.slice(0, 40))}`);
  }
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw wrong(name, `must be an integer from ${min} to ${max}`);
}

function wrong(name: string, what: string): TailraceError {
  return new TailraceError('bad_request', `query parameter ${name} ${what}`, { at: { field: name } });
}

/** A route that another room serves on plain node:http: `server.ts` hands it to the API. One for GET gets HEAD too. */
export interface PlainRoute {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Set: the body, of at most so many bytes, is read first and handed over. */
  readonly bodyMax?: number;
  /** `query` is what follows `?`; the origin has been checked, and `cors` belongs on the answer. What it throws or rejects with is answered as a problem. */
  readonly handle: (
    req: IncomingMessage,
    res: ServerResponse,
    query: string,
    cors: HeaderList,
    body: Buffer,
  ) => void | Promise<void>;
  /** Shown in openapi.json. */
  readonly doc?: RouteDoc;
}

/** One request of a route behind Fastify. */
export interface Call {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly query: QueryValues;
  /** Percent-decoded path parameters. */
  readonly path: Readonly<Record<string, string>>;
  readonly cors: HeaderList;
  /** Sets a header of the answer that the returned value becomes. */
  header(name: string, value: string): void;
}

/** A whole answer with a status and content type of its own. */
export class Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Buffer;

  constructor(status: number, contentType: string, body: string | Buffer) {
    this.status = status;
    this.contentType = contentType;
    this.body = body;
  }
}

/** The route has answered, or will answer, on the response itself. */
export const answered: unique symbol = Symbol('answered');

/** A route behind Fastify. It returns what is sent as JSON, an Answer, or `answered`; it throws TailraceErrors. */
export interface ApiRoute extends RouteDoc {
  handle(call: Call): unknown;
}
