import { once } from 'node:events';
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Envelope, ServerFrame } from '@tailrace/protocol';
import { Backoff } from './backoff.ts';
import { CommandError } from './command.ts';
import { describeRefusal, howItBroke, openRequest, readRefusal, Unreachable } from './http.ts';
import { type SseBlock, SseParser } from './sse-parser.ts';

/** A server beats every 25 s by default; after two and a half of these the connection is taken for dead. */
const silenceLimit = 65_000;

export interface SseSubscriptionOptions {
  readonly filters: readonly string[];
  /** Where it begins without a cursor: see `from` in protocol.md §3. */
  readonly from: string | undefined;
  readonly cursor: string | undefined;
  /** Told once at each loss and each recovery of the connection. */
  readonly notice: (text: string) => void;
}

/** A message or a notice of the server, with the cursor from which reading goes on after it. */
export type SubscriptionEvent = { readonly cursor: string | undefined } & (
  | { readonly message: Envelope }
  | { readonly notice: ServerFrame }
  | { readonly moved: true }
);

/**
 * Reads a subscription over SSE for ever, reconnecting by its last cursor. Yields what one chunk of the connection
 * brought; returns when the server says that it ended (204); throws what trying again cannot mend.
 */
export async function* subscribeBySse(url: URL, options: SseSubscriptionOptions): AsyncGenerator<SubscriptionEvent[]> {
  const backoff = new Backoff();
  let { cursor } = options;
  let everConnected = false;
  let troubled = false;
  for (;;) {
    const parser = new SseParser();
    let wish: number | undefined;
    let ending = 'the connection was closed';
    try {
      const opened = await open(streamUrl(url, options), cursor);
      if (opened.response.statusCode === 204) return;
      if (opened.response.statusCode !== 200) {
        const refusal = await readRefusal(opened.response);
        if (refusal.retry !== 'later') throw new CommandError(describeRefusal(refusal));
        wish = refusal.retryAfter;
        throw new Lost(describeRefusal(refusal));
      }
      for await (const blocks of readBlocks(opened, parser)) {
        const events = blocks.map(toEvent);
        cursor = events.at(-1)?.cursor ?? cursor;
        for (const event of events) if ('notice' in event) ending = endings[event.notice.type] ?? ending;
        // a stream that opens with an error notice is a refusal in disguise (§5): no progress
        const at = events.findIndex(event => errorIn(event) !== undefined);
        if (at !== -1) {
          yield events.slice(0, at);
          const refusal = errorIn(events[at]!)!;
          wish = refusal.retryAfter;
          if (refusal.retry !== 'later') throw new CommandError(describeRefusal(refusal));
          throw new Lost(describeRefusal(refusal));
        }
        backoff.reset();
        if (troubled) options.notice('connected again');
        troubled = false;
        yield events;
      }
      throw new Lost(ending);
    } catch (error) {
      if (!(error instanceof Lost || error instanceof Unreachable)) throw error;
      if (!everConnected && error instanceof Unreachable && error.refused) throw error;
      // not refused: somebody was there, though perhaps not for long enough to answer
      everConnected = true;
      const what = error instanceof Unreachable ? error.what : error.message;
      if (!troubled && what !== expected) {
        options.notice(`${what}; reconnecting`);
        troubled = true;
      }
    }
    // the server's window counts for the first attempt; later ones back off
    await backoff.wait(wish ?? parser.retry);
  }
}

/** Its topics ended: the next answer says whether that was all. */
const expected = 'the topic ended';

/** Notices that say why the stream is about to end. */
const endings: Readonly<Partial<Record<ServerFrame['type'], string>>> = {
  drain: 'the server is going down or restarting',
  end: expected,
};

/** The connection is gone and may come back. */
class Lost extends Error {}

interface Opened {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
}

async function open(url: URL, cursor: string | undefined): Promise<Opened> {
  const request = await openRequest(url, {
    headers: {
      // both types: refusals then come with their true status (§5)
      accept: 'text/event-stream, application/problem+json',
      ...(cursor === undefined ? {} : { 'last-event-id': cursor }),
    },
    timeout: silenceLimit,
  });
  request.on('timeout', () => request.destroy(new Error(`nothing was heard for ${silenceLimit / 1000} s`)));
  request.end();
  try {
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    return { request, response };
  } catch (cause) {
    throw new Unreachable(url, cause as Error);
  }
}

async function* readBlocks({ request, response }: Opened, parser: SseParser): AsyncGenerator<SseBlock[]> {
  response.setEncoding('utf8');
  try {
    for await (const chunk of response) {
      const blocks = parser.push(chunk as string);
      if (blocks.length > 0) yield blocks;
    }
  } catch (cause) {
    throw new Lost(`the connection ${howItBroke(cause as Error)}`, { cause });
  } finally {
    request.destroy();
  }
}

function toEvent({ event, data, id }: SseBlock): SubscriptionEvent {
  if (data === undefined) return { moved: true, cursor: id };
  if (event === 'tailrace') return { notice: JSON.parse(data) as ServerFrame, cursor: id };
  return { message: JSON.parse(data) as Envelope, cursor: id };
}

type ErrorNotice = Extract<ServerFrame, { type: 'error' }>;

function errorIn(event: SubscriptionEvent): ErrorNotice | undefined {
  return 'notice' in event && event.notice.type === 'error' ? event.notice : undefined;
}

function streamUrl(base: URL, { filters, from }: SseSubscriptionOptions): URL {
  const url = new URL('v1/sse', base);
  for (const filter of filters) url.searchParams.append('filter', filter);
  if (from !== undefined) url.searchParams.set('from', from);
  return url;
}
