import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { filterSet } from '@tailrace/protocol';
import { describe, expect, it } from 'vitest';
import { type Log, openDiskLog, openMemoryLog } from '../../src/log/index.ts';
import { temporaryDirectory } from '../log/temporary-directory.ts';
import { type ApiServer, besideOthers, contents, RawClient, startApi, until } from './api-server.ts';

const MiB = 1024 * 1024;

const head =
  'POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n';

function chunk(data: string | Buffer): Buffer {
  const bytes = Buffer.from(data as string);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

function line(value: number, topic = 't'): string {
  return `{"topic":"${topic}","data":${value}}\n`;
}

async function post(server: ApiServer, body: string | Uint8Array, type = 'application/x-ndjson') {
  const response = await fetch(`${server.url}/v1/publish`, {
    method: 'POST',
    body: new Blob([body as never]),
    headers: { 'content-type': type },
  });
  const text = await response.text();
  return {
    status: response.status,
    lines: text
      .trim()
      .split('\n')
      .map(part => JSON.parse(part) as Record<string, unknown>),
  };
}

async function data(server: ApiServer, filter?: string): Promise<string[]> {
  return (await contents(server.log, filter)).map(entry => entry.data);
}

describe('NDJSON', () => {
  it.each(['application/x-ndjson', 'application/ndjson', 'application/jsonl; charset=utf-8'])(
    '%s is a message a line',
    async type => {
      await using server = await startApi();
      const { status, lines } = await post(
        server,
        `${line(1)}\n  \r\n${line(2).trim()}\r\n{"topic":"t","data":"ü😀"}`,
        type,
      );
      expect(status).toBe(200);
      expect(lines.at(-1)).toEqual({
        done: true,
        accepted: 3,
        duplicates: 0,
        cursor: server.hub.tokens.of(3, server.log.head.time),
      });
      expect(await data(server)).toEqual(['1', '2', '"ü😀"']);
    },
  );

  it('takes an empty body', async () => {
    await using server = await startApi();
    expect(await post(server, '')).toEqual({ status: 200, lines: [{ done: true, accepted: 0, duplicates: 0 }] });
  });

  it('counts duplicates', async () => {
    await using server = await startApi();
    const one = '{"topic":"t","id":"1","data":1}\n';
    expect((await post(server, one + one)).lines.at(-1)).toMatchObject({ done: true, accepted: 2, duplicates: 1 });
    expect(await data(server)).toEqual(['1']);
  });

  it('keeps what went before a bad line and names it', async () => {
    await using server = await startApi();
    const { status, lines } = await post(server, `${line(1)}\n${line(2)}{"topic":"t","data":}\n${line(3)}`);
    expect(status).toBe(200);
    expect(lines.at(-1)).toMatchObject({ error: { code: 'bad_request', line: 4, at: { line: 4 } }, accepted: 2 });
    expect(await data(server)).toEqual(['1', '2']);
  });

  const badLines: [string, string | Buffer, string, RegExp?][] = [
    ['two values on a line', `${line(8).trim()}${line(9)}`, 'bad_request', /--data-binary/],
    ['a bad topic', line(9, 'a//b'), 'topic_invalid'],
    ['an unknown field', '{"topic":"t","data":1,"retain":1}\n', 'unknown_field'],
    ['an array', `[${line(9).trim()}]\n`, 'bad_request'],
    ['bad UTF-8', Buffer.from('{"topic":"t","data":"\xff"}\n', 'latin1'), 'payload_invalid'],
    ['a forged envelope', '{"topic":"t","data":1,"offset":1}\n', 'unknown_field'],
    ['__proto__ among the headers', '{"topic":"t","data":1,"headers":{"__proto__":"y"}}\n', 'bad_request', /__proto__/],
    [
      '__proto__ as headers',
      '{"topic":"t","data":1,"headers":{"__proto__":{"polluted":"y"}}}\n',
      'bad_request',
      /__proto__/,
    ],
    ['an escape of JSON into the next line', '{"topic":"t","data":"\n', 'bad_request'],
  ];
  it.each(badLines)('refuses %s', async (_name, bad, code, detail) => {
    await using server = await startApi();
    await besideOthers(server, async () => {
      const { lines } = await post(
        server,
        Buffer.concat([Buffer.from(line(1)), Buffer.from(bad as string), Buffer.from(line(2))]),
      );
      expect(lines.at(-1)).toMatchObject({ error: { code, line: 2 }, accepted: 1 });
      if (detail !== undefined) expect((lines.at(-1)!.error as { detail: string }).detail).toMatch(detail);
      expect(await data(server, 't')).toEqual(['1']);
    });
  });

  it('answers a plain problem when the first line is bad', async () => {
    await using server = await startApi();
    await besideOthers(server, async () => {
      const { status, lines } = await post(server, `x\n${line(1)}`);
      expect(status).toBe(400);
      expect(lines).toEqual([expect.objectContaining({ code: 'bad_request', at: { line: 1 } })]);
    });
  });

  it('stops at a message that the log refuses', async () => {
    await using server = await startApi();
    await post(server, '{"topic":"over","end":true}');
    const { lines } = await post(server, `${line(1)}${line(2, 'over')}${line(3)}`);
    expect(lines.at(-1)).toMatchObject({ error: { code: 'topic_ended', line: 2 }, accepted: 1 });
    expect((await data(server)).slice(1)).toEqual(['1']);
  });

  it('appends each line as it arrives and tells progress', async () => {
    await using server = await startApi();
    using client = new RawClient(server.port);
    client.send(head);
    client.send(chunk(line(1)));
    await until(() => server.log.head.offset === 1);
    await client.seen('{"accepted":1,');
    client.send(chunk(line(2) + line(3).slice(0, 5)));
    await client.seen('{"accepted":2,');
    client.send(chunk(line(3).slice(5)));
    client.send('0\r\n\r\n');
    await client.seen('{"done":true,"accepted":3,"duplicates":0,"cursor":');
    expect(client.received).toMatch(/^HTTP\/1\.1 200 .*application\/x-ndjson/s);
  });

  it('keeps whole lines of a client that went away, and nothing of the rest', async () => {
    await using server = await startApi();
    const client = new RawClient(server.port);
    client.send(head);
    client.send(chunk(`${line(1)}${line(2)}{"topic":"t","data":3}`));
    await until(() => server.log.head.offset === 2);
    client.socket.destroy();
    await until(() => server.hub.publisher.inFlight === 0);
    const other = await post(server, line(4));
    expect(other.lines.at(-1)).toMatchObject({ accepted: 1 });
    expect(await data(server)).toEqual(['1', '2', '4']);
  });

  it('keeps no more in memory than records count for, however much emptiness came with them', async () => {
    await using server = await startApi();
    using client = new RawClient(server.port);
    client.send(head);
    for (let i = 1; i <= 40; i++) {
      client.send(chunk(line(i) + '\n'.repeat(30_000)));
      await until(() => server.log.head.offset === i);
    }
    const buffers = new Set<ArrayBufferLike>();
    for (const record of (await server.log.read(0, 40, filterSet(['#']), 1e6)).records) buffers.add(record.data.buffer);
    let held = 0;
    for (const buffer of buffers) held += buffer.byteLength;
    expect(held).toBeLessThan(400_000);
  });

  it('reads lines however they are cut', async () => {
    await using server = await startApi();
    const body = Buffer.from(
      Array.from({ length: 200 }, (_, i) => `{"topic":"t/ü","data":"${i} ${'😀'.repeat(i % 5)}"}\n`).join(''),
    );
    using client = new RawClient(server.port);
    client.send(head);
    const cuts = randomBytes(4000);
    for (let at = 0, i = 0; at < body.length; i++) {
      const size = 1 + (cuts[i % cuts.length]! % 13);
      client.send(chunk(body.subarray(at, at + size)));
      at += size;
    }
    client.send('0\r\n\r\n');
    await client.seen('"done":true,"accepted":200');
    expect(await data(server)).toEqual(Array.from({ length: 200 }, (_, i) => `"${i} ${'😀'.repeat(i % 5)}"`));
  });

  it('refuses a line that never ends before it is held', async () => {
    await using server = await startApi({ limits: { message: 1000 } });
    await besideOthers(server, async () => {
      using client = new RawClient(server.port);
      client.send(head);
      client.send(chunk(line(1)));
      await client.seen('"accepted":1,');
      const part = chunk(Buffer.alloc(60_000, 0x20));
      client.send(part);
      client.send(part);
      expect(await client.seen('"line":2')).toContain('payload_too_large');
      expect(await client.end()).toContain('"accepted":1');
    });
  });

  it('times out a line that stops in its middle, but never the pause between lines', async () => {
    await using server = await startApi({ bodyTimeout: 200 });
    await besideOthers(server, async () => {
      using quiet = new RawClient(server.port);
      using stuck = new RawClient(server.port);
      for (const client of [quiet, stuck]) {
        client.send(head);
        client.send(chunk(line(1)));
      }
      stuck.send(chunk('{"topic":'));
      expect(await stuck.seen('request_timeout')).toContain('"line":2');
      await stuck.end();
      quiet.send(chunk(line(2)));
      quiet.send('0\r\n\r\n');
      await quiet.seen('"done":true,"accepted":2');
    });
  });

  it('ends in good order when the server drains', async () => {
    await using server = await startApi();
    using client = new RawClient(server.port);
    client.send(head);
    client.send(chunk(line(1)));
    await client.seen('"accepted":1,');
    server.draining = true;
    expect(await client.seen('"accepted":1,"duplicates"')).toContain('"draining"');
    await client.end();
    expect(await data(server)).toEqual(['1']);
  });

  it('holds back, and does not fail, while the log has no room', async () => {
    const inner = openMemoryLog();
    let refusals = 0;
    const log: Log = new Proxy(inner, {
      get(target, name) {
        if (name === 'append') {
          return async (...args: Parameters<Log['append']>) => {
            if (args[0].length > 3 || refusals < 2) {
              refusals++;
              const { TailraceError } = await import('@tailrace/protocol');
              throw new TailraceError('overloaded', 'too much is pending');
            }
            return target.append(...args);
          };
        }
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    await using server = await startApi({ log });
    const { lines } = await post(server, Array.from({ length: 10 }, (_, i) => line(i)).join(''));
    expect(lines.at(-1)).toMatchObject({ done: true, accepted: 10 });
    expect(refusals).toBeGreaterThan(2);
    expect(await data(server)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
  });

  it('does not read on while the brake holds, and goes on after', async () => {
    await using server = await startApi({ hub: { lagTarget: 1 } });
    server.hub.brake.lag = 50;
    const hold = server.hub.brake;
    using client = new RawClient(server.port);
    client.send(head);
    client.send(chunk(line(1)));
    await until(() => hold.heldCount > 0);
    expect(server.log.head.offset).toBe(0);
    hold.update(0);
    client.send('0\r\n\r\n');
    await client.seen('"done":true,"accepted":1');
  });

  it('takes 160 MiB in bounded memory, far beyond the limits of an array', async () => {
    if (gc === undefined) throw new Error('run with --expose-gc');
    const directory = temporaryDirectory();
    const log = await openDiskLog({ directory, hotBytes: 4 * MiB });
    await using server = await startApi({ log, bodyMax: MiB, limits: { items: 10, message: 4 * MiB } });
    const block = Buffer.from(`{"topic":"host/7","durability":"written","data":"${'x'.repeat(1024)}"}\n`.repeat(256));
    const blocks = Math.ceil((160 * MiB) / block.length);
    using client = new RawClient(server.port);
    client.send(head);
    await until(() => server.connections === 1);
    const held = (): number => process.memoryUsage().arrayBuffers / MiB;
    gc();
    const before = held();
    let [committed, looked, peak] = [0, 0, 0];
    log.tail({
      onCommit: batch => {
        committed += batch.count;
        if (committed - looked < 8192) return;
        looked = committed;
        gc!();
        peak = Math.max(peak, held() - before);
      },
    });
    const wire = chunk(block);
    for (let i = 0; i < blocks; i++) if (!client.socket.write(wire)) await once(client.socket, 'drain');
    client.send('0\r\n\r\n');
    await client.seen(`"done":true,"accepted":${blocks * 256},`);
    expect(committed).toBe(blocks * 256);
    expect(looked).toBeGreaterThan(65_536);
    // the hot tail, what waits for its commit, what is on its way, and what the collector has not swept yet
    expect(peak).toBeLessThan(64);
  }, 60_000);
});
