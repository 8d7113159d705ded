import { connect, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { Server } from '../../src/server.ts';
import { Bystander } from '../gateway/bystander.ts';

let server: Server;
let port: number;
beforeAll(async () => {
  server = await Server.open(
    createConfig({
      engine: 'memory',
      port: 0,
      log: { level: 'silent' },
      header: { timeout: '300ms' },
      body: { timeout: '300ms' },
    }),
  );
  port = (await server.listen()).port;
});
afterAll(() => server.close());

const beside = <T>(act: () => Promise<T>): Promise<T> => Bystander.beside({ port, gateway: server.gateway }, act);

interface Answer {
  readonly status: number;
  readonly body: { readonly offset?: number; readonly code?: string };
}

/** A raw connection: sends what it is told, collects whole answers. */
class Pipeline {
  readonly answers: Answer[] = [];
  readonly socket: Socket = connect(port, '127.0.0.1');
  closed = false;
  #text = '';
  #check: () => void = () => {};

  constructor() {
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
      this.#check();
    });
    this.socket.on('data', chunk => {
      this.#text += chunk.toString('latin1');
      for (;;) {
        const head = this.#text.indexOf('\r\n\r\n');
        const length = Number(/content-length: (\d+)/i.exec(this.#text)?.[1] ?? 0);
        if (head === -1 || this.#text.length < head + 4 + length) break;
        const body = this.#text.slice(head + 4, head + 4 + length);
        this.answers.push({
          status: Number(this.#text.slice(9, 12)),
          body: body === '' ? {} : (JSON.parse(body) as Answer['body']),
        });
        this.#text = this.#text.slice(head + 4 + length);
      }
      this.#check();
    });
  }

  until(done: () => boolean): Promise<void> {
    return new Promise(resolve => {
      this.#check = () => {
        if (done()) resolve();
      };
      this.#check();
    });
  }
}

function request(topic: string, body: string, headers = ''): string {
  return `POST /v1/topics/${topic} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${headers}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** Requests plain and odd, with the status each must get, whoever reads it. */
const requestArbitrary = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.jsonValue().map(value => ({ text: request('bare/a', JSON.stringify(value)), status: 200 })),
  },
  fc.constant({ text: request('bare/a', '{"broken":'), status: 400 }),
  fc.constant({ text: request('bare//a', '1'), status: 400 }),
  fc.constant({ text: request('$sys/a', '1'), status: 403 }),
  fc.constant({ text: request('bare/a', '1', 'Tailrace-Durability: none\r\n'), status: 202 }),
  fc.constant({ text: request('bare/a?key=k', '1'), status: 200 }),
  fc.constant({ text: request('bare/a', '1', 'Tailrace-Deadline: 3000\r\n'), status: 200 }),
  fc.constant({ text: request('bare/a', '1', 'Origin: http://evil.example\r\n'), status: 403 }),
  fc.constant({ text: request('bare/%C3%A9', '"é"'), status: 200 }),
  fc.constant({
    text: `POST /v1/topics/bare/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n`,
    status: 200,
  }),
  fc.constant({ text: 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n', status: 200 }),
);

describe('publishing on a bare socket', () => {
  it('answers pipelined requests in their order, however they are cut and whatever is odd among them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(requestArbitrary, { minLength: 1, maxLength: 30 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 12 }),
        async (requests, cuts) => {
          const pipeline = new Pipeline();
          const bytes = Buffer.from(requests.map(({ text }) => text).join(''));
          let at = 0;
          for (const cut of cuts) {
            if (at >= bytes.length) break;
            pipeline.socket.write(bytes.subarray(at, at + cut));
            at += cut;
            await new Promise(resolve => setImmediate(resolve));
          }
          if (at < bytes.length) pipeline.socket.write(bytes.subarray(at));
          // a 403 for an origin closes nothing, but a refused body may: only then is less than everything answered
          await pipeline.until(() => pipeline.answers.length === requests.length || pipeline.closed);
          expect(pipeline.answers.map(({ status }) => status)).toEqual(
            requests.slice(0, pipeline.answers.length).map(({ status }) => status),
          );
          if (!pipeline.closed) expect(pipeline.answers.length).toBe(requests.length);
          else expect(requests.some(({ status }) => status === 403)).toBe(true);
          pipeline.socket.destroy();
        },
      ),
      { numRuns: 150 },
    );
  }, 60_000);

  it('gives the messages of one connection ascending offsets', async () => {
    const pipeline = new Pipeline();
    for (let i = 0; i < 3000; i++) pipeline.socket.write(request('bare/order', String(i)));
    await pipeline.until(() => pipeline.answers.length === 3000);
    const offsets = pipeline.answers.map(({ body }) => body.offset!);
    expect(offsets.every((offset, i) => i === 0 || offset > offsets[i - 1]!)).toBe(true);
    pipeline.socket.destroy();
  });

  it.each([
    [
      'two lengths',
      `POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n1`,
    ],
    [
      'a length beside chunks',
      `POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1`,
    ],
    [
      'a bare line feed',
      `POST /v1/topics/a HTTP/1.1\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1`,
    ],
    [
      'a folded line',
      `POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nUser-Agent: a\r\n b\r\nContent-Length: 1\r\n\r\n1`,
    ],
    [
      'a signed length',
      `POST /v1/topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: +1\r\n\r\n1`,
    ],
  ])('leaves %s to node:http, which refuses it, and nothing is published', async (_, text) => {
    await beside(async () => {
      const before = server.log.head.offset;
      const pipeline = new Pipeline();
      pipeline.socket.write(request('bare/first', '1') + text);
      await pipeline.until(() => pipeline.closed);
      expect(pipeline.answers.map(({ status }) => status)).toEqual([200, 400]);
      expect(server.log.head.offset).toBe(before + 1);
    });
  });

  it.each([
    ['in the query', request('bare/a?deadline=5', '1')],
    ['in a header', request('bare/a', '1', 'Tailrace-Deadline: 5\r\n')],
    ['beyond the setting', request('bare/a', '1', 'Tailrace-Deadline: 3001\r\n')],
  ])('leaves a deadline %s to node:http, which looks at it', async (_, text) => {
    const before = server.log.head.offset;
    const pipeline = new Pipeline();
    pipeline.socket.write(request('bare/a', '1') + text);
    await pipeline.until(() => pipeline.answers.length === 2);
    expect(pipeline.answers.map(({ status }) => status)).toEqual([200, 400]);
    expect(server.log.head.offset).toBe(before + 1);
    pipeline.socket.destroy();
  });

  it('gives a body that stops half-way to node:http, which answers 408', async () => {
    await beside(async () => {
      const pipeline = new Pipeline();
      pipeline.socket.write(request('bare/slow', '"complete"').slice(0, -4));
      await pipeline.until(() => pipeline.answers.length === 1);
      expect(pipeline.answers[0]!.status).toBe(408);
      pipeline.socket.destroy();
    });
  });

  it('answers what was asked before the client ended its side', async () => {
    const pipeline = new Pipeline();
    pipeline.socket.end(request('bare/end', '1') + request('bare/end', '2'));
    await pipeline.until(() => pipeline.closed || pipeline.answers.length === 2);
    expect(pipeline.answers.map(({ status }) => status)).toEqual([200, 200]);
  });

  it('does not read on a client that does not take its answers', async () => {
    const socket = connect(port, '127.0.0.1');
    socket.pause();
    const text = request('bare/stuffed', '1');
    let _sent = 0;
    // until the kernel takes no more: the server has stopped reading
    await new Promise<void>(resolve => {
      const more = (): void => {
        for (let i = 0; i < 200; i++) {
          _sent++;
          if (!socket.write(text)) {
            const stuck = setTimeout(resolve, 700);
            socket.once('drain', () => {
              clearTimeout(stuck);
              more();
            });
            return;
          }
        }
        setImmediate(more);
      };
      more();
    });
    expect(server.door.publishing).toBeLessThan(5000);
    socket.destroy();
  }, 60_000);
});
