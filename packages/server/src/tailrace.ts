import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  checkFilters,
  checkMessage,
  type Durability,
  type Envelope,
  filterSet,
  TailraceError,
} from '@tailrace/protocol';
import { type ConfigInput, createConfig } from './config/index.ts';
import { envelopeText } from './hub/index.ts';
import type { LogRecord } from './log/index.ts';
import { Server } from './server.ts';

/** Fields of a message beside topic and data (docs/protocol.md §1). */
export interface PublishOptions {
  readonly id?: string;
  readonly key?: string;
  /** What must be the newest record of the key; else the publish is refused as `expect_failed`. */
  readonly expect?: { readonly offset: number } | { readonly absent: true };
  readonly event?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Type of `data` when that is text, or bytes other than `application/octet-stream`; JSON values need none. */
  readonly contentType?: string;
  readonly durability?: Durability;
  readonly producer?: string;
  readonly sequence?: number;
  /** Ends the topic for good. */
  readonly end?: boolean;
}

export interface PublishReceipt {
  /** Absent for durability `none`. */
  readonly offset?: number;
  readonly cursor?: string;
  readonly duplicate: boolean;
}

export interface SubscribeOptions {
  /** Where to begin: `now` (default), `earliest`, `last`, `last:N`, an RFC 3339 time, `-5m`, `@<offset>`. */
  readonly from?: string;
  /** Cursor of the last message that was handled; before `from`. */
  readonly cursor?: string;
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Told when records are missing (`gap`) or the cursor did not fit (`reset`); reading goes on from `cursor`. */
  readonly onNotice?: (notice: SubscribeNotice) => void;
}

export type SubscribeNotice =
  | { readonly type: 'gap'; readonly cursor: string; readonly reason: 'trimmed' }
  | { readonly type: 'reset'; readonly cursor: string; readonly reason: 'epoch' | 'ahead' | 'compacted' };

/**
 * A message as an embedded subscriber gets it; `cursor` resumes after it, here or over any transport. One of class
 * `none` has no `offset`; its `cursor` is that of the records before it.
 */
export type ReceivedMessage = Envelope & { readonly cursor: string };

const readBytes = 64 * 1024;

/** A Tailrace inside your own process: its log, its hub, and handlers to mount in a server of yours. */
export class Tailrace implements AsyncDisposable {
  readonly #server: Server;

  constructor(server: Server) {
    this.#server = server;
  }

  /**
   * Mounts every route: `createServer(t.handler)`. With a third argument, as in Express's `app.use(t.handler)`, it
   * serves `/v1` and below and calls `next` for every other path. It reads request bodies itself, so it goes before
   * body parsers.
   */
  readonly handler = (req: IncomingMessage, res: ServerResponse, next?: () => void): void => {
    if (next === undefined || /^\/v1(?:[/?]|$)/.test(req.url ?? '')) this.#server.handle(req, res);
    else next();
  };

  /** Mounts WebSocket: `server.on('upgrade', t.upgrade)`. */
  readonly upgrade = (req: IncomingMessage, socket: Duplex, head: Buffer): void =>
    this.#server.upgrade(req, socket as Socket, head);

  /** Publishes one message; resolves after its commit. `data` is a JSON value, or with `contentType` a string or bytes. Throws TailraceError. */
  async publish(topic: string, data: unknown, options: PublishOptions = {}): Promise<PublishReceipt> {
    const { hub, results } = this.#server;
    const fields = data instanceof Uint8Array ? { contentType: 'application/octet-stream', ...options } : options;
    const message = checkMessage(topic, toBytes(data, options.contentType), fields, this.#server.limits);
    const { results: told, failed } = results.all(await hub.publisher.publish([message]), 1);
    if (failed !== undefined) throw failed;
    return told[0] as PublishReceipt;
  }

  /**
   * Iterates over the messages of one or more filters: history from `from` or `cursor`, then live. It reads as fast as
   * the loop takes them and holds nothing for a slow one. Messages of class `none` come while it keeps up. Ends when
   * `signal` aborts, when every topic it names has ended (filters with a wildcard never do), and by `close`. Throws
   * `cursor_invalid` for a malformed cursor; what is missing is told to `onNotice`.
   */
  async *subscribe(
    filter: string | readonly string[],
    options: SubscribeOptions = {},
  ): AsyncGenerator<ReceivedMessage, void, undefined> {
    const { hub } = this.#server;
    const filters = filterSet(checkFilters(filter, this.#server.limits));
    const signal = options.signal ?? new AbortController().signal;
    const start = await hub.resolveStart(filters, { cursor: options.cursor, from: options.from });
    const { jump, snapshot } = start;
    if (jump !== undefined) {
      const cursor = hub.tokens.of(jump.to.offset, jump.to.time);
      options.onNotice?.(
        jump.type === 'gap'
          ? { type: 'gap', cursor, reason: 'trimmed' }
          : { type: 'reset', cursor, reason: jump.reason },
      );
    }
    const reader = hub.liveReader(filters, jump?.to ?? start.at, snapshot, start.told);
    const stopping = AbortSignal.any([signal, hub.closed]);
    while (!signal.aborted) {
      // a log that is closed has only what is in memory
      if (hub.closed.aborted && !reader.isHot) return;
      const { records, gap, reset, atHead } = await reader.read(readBytes);
      if (gap !== undefined)
        options.onNotice?.({ type: 'gap', cursor: hub.tokens.of(gap.offset, gap.time), reason: 'trimmed' });
      if (reset !== undefined)
        options.onNotice?.({ type: 'reset', cursor: hub.tokens.of(reset.offset, reset.time), reason: 'compacted' });
      for (const record of records) {
        if (signal.aborted) return;
        yield received(record, hub.tokens.of(record.offset, record.time));
        if (record.end && hub.haveEnded(filters, record.offset)) return;
      }
      if (!atHead) {
        reader.lag();
        continue;
      }
      const live = reader.passedOn(readBytes);
      const cursor = hub.tokens.of(reader.offset, reader.time);
      for (const record of live) {
        if (signal.aborted) return;
        yield received(record, cursor, false);
      }
      if (records.length > 0 || live.length > 0) continue;
      if (hub.closed.aborted) return;
      await reader.wait(stopping);
    }
  }

  /**
   * Drains and closes the log. Subscriptions end once they have given out what was dispatched before, as far as that is
   * in memory; a loop that is further behind ends early, and goes on by its cursor after the next start.
   */
  close(): Promise<void> {
    return this.#server.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Opens a log and everything above it, without a port. Settings as in docs/settings.md; throws ConfigError. */
export async function createTailrace(settings: ConfigInput = {}): Promise<Tailrace> {
  return new Tailrace(await Server.open(createConfig(settings)));
}

function received(record: LogRecord, cursor: string, stored = true): ReceivedMessage {
  return { ...(JSON.parse(envelopeText(record, stored)) as Envelope), cursor };
}

function toBytes(data: unknown, contentType: string | undefined): Uint8Array | undefined {
  if (data === undefined) return undefined;
  if (contentType !== undefined && typeof data === 'string') return Buffer.from(data);
  if (data instanceof Uint8Array) return data;
  try {
    const json: string | undefined = JSON.stringify(data);
    return json === undefined ? undefined : Buffer.from(json);
  } catch (cause) {
    throw new TailraceError('payload_invalid', `data is not a JSON value: ${(cause as Error).message}`, {
      at: { field: 'data' },
      cause,
    });
  }
}
