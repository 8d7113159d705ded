import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  checkMessage,
  type FrameLimits,
  type InputLimits,
  isTailraceError,
  type Message,
  PlainLines,
  parseMessage,
  rawElements,
  TailraceError,
} from '@tailrace/protocol';
import type { HeaderList } from '../admission/index.ts';
import type { Hub } from '../hub/index.ts';
import type { PublishCounts } from '../observe/publish-counts.ts';
import type { Answers } from './answers.ts';
import { type Bodies, type BodyUse, hasBody } from './bodies.ts';
import { bodyKind, checkContentEncoding } from './media-type.ts';
import { type RawFields, readDeadline, readPublishFields } from './publish-fields.ts';
import { PublishLines } from './publish-lines.ts';
import { PublishResults } from './publish-results.ts';
import { readTopic } from './topic-path.ts';

export interface PublishOptions {
  readonly hub: Hub;
  readonly answers: Answers;
  readonly bodies: Bodies;
  readonly limits: FrameLimits;
  /** Bytes of a body that is read whole. */
  readonly bodyMax: number;
  readonly counts: PublishCounts;
}

interface RawPublish {
  readonly topic: string;
  readonly fields: RawFields;
}

const sendLines = 'send NDJSON (a message a line, application/x-ndjson), which may be of any size';

/** A payload of every content type, in the place of one that has not come yet. */
const anyPayload: Buffer = Buffer.from('0');

/** `POST /v1/topics/{topic}` and `POST /v1/publish` (§4), in front of Fastify: this is the hot way in. */
export class PublishRoutes {
  readonly #o: PublishOptions;
  readonly #results: PublishResults;
  readonly #streams = new Set<PublishLines>();
  readonly #plain: PlainLines;
  readonly #rawBody: BodyUse;
  readonly #jsonBody: BodyUse;
  readonly #takeRaw = this.#raw.bind(this);
  readonly #takeJson = this.#json.bind(this);

  constructor(options: PublishOptions) {
    this.#o = options;
    this.#results = new PublishResults(options.hub.tokens, options.counts);
    const { limits, bodyMax } = options;
    this.#plain = new PlainLines(limits);
    const tooSlow = 'the body stopped arriving; nothing was published';
    const max = Math.min(bodyMax, limits.message);
    const setting = max === limits.message ? 'limits.message' : 'limits.body';
    this.#rawBody = {
      max,
      tooLarge: `the body has more than the ${max} bytes that ${setting} allows for one message; split the payload`,
      tooSlow,
    };
    this.#jsonBody = {
      max: bodyMax,
      tooLarge: `the body has more than the ${bodyMax} bytes that limits.body allows for JSON, which is checked whole first; ${sendLines}`,
      tooSlow,
    };
  }

  /** NDJSON requests that are open. */
  get streams(): number {
    return this.#streams.size;
  }

  /** The raw body is one message; `path` is what follows `/v1/topics/`. */
  topic(req: IncomingMessage, res: ServerResponse, path: string, query: string, cors: HeaderList): void {
    const { answers, bodies, limits } = this.#o;
    let context: RawPublish;
    try {
      checkContentEncoding(req);
      const fields = readPublishFields(req, query, limits.deadline);
      const kind = bodyKind(req.headers['content-type']);
      if (kind === 'multipart') throw multipart();
      context = { topic: readTopic(path), fields };
      // a client that asks before it sends is refused what its body cannot change
      if (req.headers.expect !== undefined) rawMessage(context, anyPayload, kind === 'unsaid', limits);
    } catch (error) {
      this.#count(error);
      if (hasBody(req)) bodies.refuse(req, res, cors, error);
      else answers.problem(res, error, cors);
      return;
    }
    bodies.collect(req, res, cors, this.#rawBody, this.#takeRaw, context);
  }

  /** One message object, an array of them, or lines of them. */
  batch(req: IncomingMessage, res: ServerResponse, query: string, cors: HeaderList): void {
    const { answers, bodies, limits } = this.#o;
    let deadline: number | undefined;
    try {
      checkContentEncoding(req);
      deadline = readDeadline(req, query, limits.deadline);
      const kind = bodyKind(req.headers['content-type']);
      if (kind === 'lines') {
        this.#stream(req, res, cors, deadline);
        return;
      }
      if (kind === 'multipart') throw multipart();
      if (kind === 'other' && !/^text\/plain\b/i.test(req.headers['content-type'] ?? ''))
        throw new TailraceError(
          'media_type_unsupported',
          `POST /v1/publish takes application/json or application/x-ndjson, not ${shown(req.headers['content-type'] ?? '')}; to publish this body as one message POST it to /v1/topics/{topic}`,
        );
    } catch (error) {
      this.#count(error);
      if (hasBody(req)) bodies.refuse(req, res, cors, error);
      else answers.problem(res, error, cors);
      return;
    }
    bodies.collect(req, res, cors, this.#jsonBody, this.#takeJson, deadline);
  }

  /** Ends the open streams: what arrived in whole lines is published, the rest is told to be sent elsewhere. */
  drain(): void {
    for (const stream of this.#streams) stream.drain();
  }

  #stream(req: IncomingMessage, res: ServerResponse, cors: HeaderList, deadline: number | undefined): void {
    const { hub, answers, bodies, limits, counts } = this.#o;
    const stream = new PublishLines(req, res, cors, {
      hub,
      answers,
      bodies,
      limits,
      plain: this.#plain,
      counts,
      deadline,
      onEnd: ended => this.#streams.delete(ended),
    });
    this.#streams.add(stream);
    stream.start();
  }

  #raw(req: IncomingMessage, res: ServerResponse, cors: HeaderList, body: Buffer, context: RawPublish): void {
    let message: Message;
    try {
      message = rawMessage(context, body, bodyKind(req.headers['content-type']) === 'unsaid', this.#o.limits);
    } catch (error) {
      this.#fail(res, error, cors);
      return;
    }
    this.#publishOne(res, message, cors, context.fields.deadline);
  }

  #publishOne(res: ServerResponse, message: Message, cors: HeaderList, deadline: number | undefined): void {
    this.#o.hub.publisher.publish([message], deadline).then(
      results => {
        try {
          const result = results[0]!;
          this.#o.answers.json(res, this.#results.status(result), this.#results.text(result), cors);
        } catch (error) {
          this.#o.answers.problem(res, error, cors);
        }
      },
      (error: unknown) => this.#fail(res, error, cors),
    );
  }

  #json(
    _req: IncomingMessage,
    res: ServerResponse,
    cors: HeaderList,
    body: Buffer,
    deadline: number | undefined,
  ): void {
    let messages: Message[] | Message;
    try {
      messages = this.#parse(body);
    } catch (error) {
      this.#fail(res, error, cors);
      return;
    }
    if (Array.isArray(messages)) void this.#publishAll(res, messages, cors, deadline);
    else this.#publishOne(res, messages, cors, deadline);
  }

  /** Everything is checked before anything is appended. */
  #parse(body: Buffer): Message[] | Message {
    const { limits } = this.#o;
    if (!isUtf8(body)) throw new TailraceError('payload_invalid', 'the body is not valid UTF-8, as JSON must be');
    const text = body.toString();
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw notJson(text, cause as Error);
    }
    if (!Array.isArray(value)) return parseMessage(value, text, 0, limits);
    if (value.length > limits.items) {
      throw new TailraceError(
        'payload_too_large',
        `the array has ${value.length} messages, more than the ${limits.items} that limits.items allows, since it is checked whole first; ${sendLines}`,
      );
    }
    const spans = rawElements(text, 0);
    return value.map((item, index) => {
      try {
        return parseMessage(item, text, spans[index]!.start, limits);
      } catch (error) {
        throw isTailraceError(error) ? error.placed({ index }) : error;
      }
    });
  }

  async #publishAll(
    res: ServerResponse,
    messages: readonly Message[],
    cors: HeaderList,
    deadline: number | undefined,
  ): Promise<void> {
    const { hub, answers } = this.#o;
    try {
      const published = messages.length === 0 ? [] : await hub.publisher.publish(messages, deadline);
      const { results, accepted, failed } = this.#results.all(published, messages.length);
      if (failed === undefined) answers.json(res, 200, `{"results":${JSON.stringify(results)}}`, cors);
      else answers.problem(res, failed, cors, [], { accepted, results });
    } catch (error) {
      this.#fail(res, error, cors);
    }
  }

  #fail(res: ServerResponse, error: unknown, cors: HeaderList): void {
    this.#count(error);
    this.#o.answers.problem(res, error, cors);
  }

  #count(error: unknown): void {
    this.#o.counts.fail(isTailraceError(error) ? error.code : 'internal');
  }
}

/**
 * A body whose type nobody chose (none, or what `curl -d` sends) is JSON if it parses, else text if it is UTF-8, else
 * octets.
 */
function rawMessage({ topic, fields }: RawPublish, body: Buffer, unsaid: boolean, limits: InputLimits): Message {
  if (!unsaid) return checkMessage(topic, body, fields, limits);
  try {
    return checkMessage(topic, body, { ...fields, contentType: undefined }, limits);
  } catch (error) {
    if (body.length === 0 || !isTailraceError(error) || error.code !== 'payload_invalid') throw error;
  }
  const contentType = isUtf8(body) ? 'text/plain' : 'application/octet-stream';
  return checkMessage(topic, body, { ...fields, contentType }, limits);
}

function notJson(text: string, cause: Error): TailraceError {
  const hint = /after JSON/.test(cause.message)
    ? '; several values are sent as application/x-ndjson, one a line (curl needs --data-binary, since -d removes the line breaks)'
    : '';
  return new TailraceError(
    'bad_request',
    text.trim() === ''
      ? 'the body is empty: send a message such as {"topic":"a/b","data":1}, or an array of them'
      : `the body is not JSON: ${cause.message}${hint}`,
    { cause },
  );
}

function multipart(): TailraceError {
  return new TailraceError(
    'media_type_unsupported',
    'multipart bodies are not accepted; send the payload itself with its own content type',
  );
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}
