import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type SseBlock, SseParser } from '../../packages/server/src/cli/sse-parser.ts';
import { repository } from '../../scripts/house/source-files.ts';
import { Terminal } from '../docs/terminal.ts';

describe.each(['http', 'express', 'fastify', 'hono'])('embed-%s', name => {
  let directory: string;
  let app: Terminal;
  let url: string;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'tailrace-embed-'));
    await start();
  });

  afterEach(async () => {
    await app[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  it('sends what the app publishes to SSE, to WebSocket, and to the app itself', async () => {
    await using stream = await EventStream.open(`${url}/v1/sse?filter=orders/%23`);
    await using socket = await Socket.open(`${url}/v1/ws`);
    socket.send({ type: 'subscribe', subscriptions: [{ filter: 'orders/#' }] });
    await socket.until(frame => frame.type === 'subscribed');

    expect(await order({ item: 'tea' })).toMatchObject({ offset: 1, duplicate: false });
    const event = await stream.message();
    expect(JSON.parse(event.data!)).toMatchObject({ topic: 'orders/created', data: { item: 'tea' } });
    const frame = await socket.until(({ type }) => type === 'messages');
    expect(frame).toMatchObject({ messages: [{ topic: 'orders/created', offset: 1, data: { item: 'tea' } }] });
    await counted(1);
  });

  it('takes publishes over HTTP and over WebSocket, with bodies that the framework would parse', async () => {
    const bodies: [string, string, unknown][] = [
      ['application/json', '{"item":"tea"}', { item: 'tea' }],
      ['text/plain', 'tea', 'tea'],
      ['application/x-www-form-urlencoded', '{"item":"cake"}', { item: 'cake' }],
    ];
    await using stream = await EventStream.open(`${url}/v1/sse?filter=orders/%23`);
    for (const [type, body, data] of bodies) {
      const response = await fetch(`${url}/v1/topics/orders/created`, {
        method: 'POST',
        headers: { 'content-type': type },
        body,
      });
      expect(response.status).toBe(200);
      expect(JSON.parse((await stream.message()).data!)).toMatchObject({ data });
    }
    const lines = [1, 2, 3].map(n => JSON.stringify({ topic: 'orders/created', data: n })).join('\n');
    const answer = await fetch(`${url}/v1/publish`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: `${lines}\n`,
    });
    expect(await answer.text()).toContain('"done":true,"accepted":3');

    await using socket = await Socket.open(`${url}/v1/ws`);
    socket.send({ type: 'publish', ref: 1, messages: [{ topic: 'orders/created', data: 4 }] });
    expect(await socket.until(({ type }) => type === 'published')).toMatchObject({ ref: 1, results: [{ offset: 7 }] });
    await counted(7);
  });

  it('resumes a stream by Last-Event-ID, also after a restart', async () => {
    await using first = await EventStream.open(`${url}/v1/sse?filter=orders/%23`);
    await order({ n: 1 });
    const { id } = await first.message();
    await order({ n: 2 });
    app.signal('SIGTERM');
    expect(await app.ended()).toBe(0);
    await start();
    await order({ n: 3 });

    await using second = await EventStream.open(`${url}/v1/sse?filter=orders/%23`, { 'last-event-id': id! });
    expect(JSON.parse((await second.next()).data!)).toMatchObject({ type: 'subscribed', recovered: true });
    const missed = [await second.message(), await second.message()];
    expect(missed.map(({ data }) => JSON.parse(data!).data)).toEqual([{ n: 2 }, { n: 3 }]);
    await counted(3);
  });

  it("leaves the app's routes alone, in turn with its own on one kept-alive connection", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const reused: boolean[] = [];
    const ask = async (method: string, path: string, body?: string): Promise<[number, string]> => {
      const request = httpRequest(url + path, { agent, method, headers: { 'content-type': 'application/json' } });
      request.end(body);
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      reused.push(request.reusedSocket);
      return [response.statusCode!, await text(response)];
    };
    expect(await ask('GET', '/v1')).toMatchObject([200, expect.stringContaining('"protocols"')]);
    expect(await ask('GET', '/orders')).toEqual([200, '{"orders":0}']);
    expect(await ask('POST', '/v1/topics/orders/created', '{}')).toMatchObject([200, expect.any(String)]);
    expect(await ask('POST', '/orders', '{"item":"tea"}')).toMatchObject([201, expect.stringContaining('"offset":2')]);
    const [status, problem] = await ask('GET', '/v1/no-such-thing');
    expect([status, JSON.parse(problem).code]).toEqual([404, 'not_found']);
    const [appStatus, page] = await ask('GET', '/no-such-thing');
    expect(appStatus).toBe(404);
    expect(page).not.toContain('"code":"not_found"');
    expect(reused).toEqual([false, true, true, true, true, true]);
    agent.destroy();
  });

  it('ends open streams and itself on SIGTERM', async () => {
    await using stream = await EventStream.open(`${url}/v1/sse?filter=orders/%23`);
    await using socket = await Socket.open(`${url}/v1/ws`);
    socket.send({ type: 'ping' });
    await socket.until(({ type }) => type === 'pong');
    await stream.next();
    app.signal('SIGTERM');
    expect(await app.ended()).toBe(0);
    expect(await stream.rest()).toContainEqual(expect.objectContaining({ data: expect.stringContaining('"drain"') }));
    expect(await socket.closed()).toBe(1001);
  });

  async function start(): Promise<void> {
    app = new Terminal(`exec '${process.execPath}' '${repository}examples/embed-${name}/app.ts'`, {
      cwd: directory,
      env: { ...process.env, PORT: '0' },
    });
    url = await app.until(output => /shop at (\S+)/.exec(output)?.[1], 'its address');
  }

  async function order(data: unknown): Promise<unknown> {
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${url}/orders`, { method: 'POST', headers, body: JSON.stringify(data) });
    expect(response.status).toBe(201);
    return response.json();
  }

  /** Waits until the app's own subscription has seen so many orders, and no more. */
  async function counted(orders: number): Promise<void> {
    await expect.poll(async () => (await fetch(`${url}/orders`)).json()).toEqual({ orders });
  }
});

/** An event stream, one event at a time. */
class EventStream implements AsyncDisposable {
  readonly #blocks: AsyncGenerator<SseBlock, void, undefined>;
  readonly #abort: AbortController;

  private constructor(response: Response, abort: AbortController) {
    this.#blocks = read(response);
    this.#abort = abort;
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<EventStream> {
    const abort = new AbortController();
    const response = await fetch(url, { headers, signal: abort.signal });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    return new EventStream(response, abort);
  }

  async next(): Promise<SseBlock> {
    const { value } = await this.#blocks.next();
    if (value === undefined) throw new Error('the stream ended');
    return value;
  }

  /** The next event that is a message. */
  async message(): Promise<SseBlock> {
    for (;;) {
      const block = await this.next();
      if (block.event === 'message' && block.data !== undefined) return block;
    }
  }

  /** Everything up to its end. */
  async rest(): Promise<SseBlock[]> {
    const blocks: SseBlock[] = [];
    for await (const block of this.#blocks) blocks.push(block);
    return blocks;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
  }
}

async function* read(response: Response): AsyncGenerator<SseBlock, void, undefined> {
  const parser = new SseParser();
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) yield* parser.push(decoder.decode(chunk as Uint8Array, { stream: true }));
}

interface Frame {
  readonly type: string;
}

/** A WebSocket and the frames that came. */
class Socket implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #frames: Frame[] = [];
  readonly #closed: Promise<unknown[]>;
  #changed = (): void => {};

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    this.#closed = once(socket, 'close');
    socket.on('message', data => {
      this.#frames.push(JSON.parse(String(data)) as Frame);
      this.#changed();
    });
  }

  static async open(url: string): Promise<Socket> {
    const socket = new WebSocket(url.replace('http', 'ws'), 'tailrace.v1.json');
    const opened = new Socket(socket);
    await once(socket, 'open');
    return opened;
  }

  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame));
  }

  /** The first frame of which `matches` is true. */
  until(matches: (frame: Frame) => boolean): Promise<Frame> {
    return new Promise(resolve => {
      this.#changed = () => {
        const frame = this.#frames.find(matches);
        if (frame !== undefined) resolve(frame);
      };
      this.#changed();
    });
  }

  /** Its close code. */
  async closed(): Promise<number> {
    const [code] = await this.#closed;
    return code as number;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.terminate();
    await this.#closed;
  }
}
