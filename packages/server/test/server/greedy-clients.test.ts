import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createConfig } from '../../src/config/index.ts';
import { Server } from '../../src/server.ts';
import { Bystander } from '../gateway/bystander.ts';
import { until } from '../gateway/harness.ts';

let server: Server;
let port: number;
let bystander: Bystander;
let greedy: Socket;
/** Head of the log before the greedy client does anything. */
let before: number;
beforeEach(async () => {
  server = await Server.open(
    createConfig({ engine: 'memory', port: 0, log: { level: 'silent' }, drain: { timeout: 0 } }),
  );
  port = (await server.listen()).port;
  bystander = await Bystander.open({ port, gateway: server.gateway });
  await bystander.check();
  before = server.log.head.offset;
  greedy = connect({ port, host: '127.0.0.1', noDelay: true });
  greedy.on('error', () => {});
});
afterEach(async () => {
  greedy.resetAndDestroy();
  await until(() => server.door.inFlight === 0, 'nothing under way');
  await bystander.check();
  bystander.close();
  await server.close();
});

const host = 'Host: 127.0.0.1\r\n';

async function publish(topic: string): Promise<void> {
  expect((await fetch(`http://127.0.0.1:${port}/v1/topics/${topic}`, { method: 'POST', body: '1' })).status).toBe(200);
}

/** Until the other end takes no more: both ends run in this process, so bytes that stand still are not read. */
async function sendUntilStuck(socket: Socket, bytes: string): Promise<number> {
  let sent = 0;
  let still = 0;
  for (let last = -1; still < 50; last = socket.bytesWritten - socket.writableLength) {
    for (; socket.writableLength < 4 * 1024 * 1024; sent++) socket.write(bytes);
    await new Promise(resolve => setTimeout(resolve, 1));
    still = socket.bytesWritten - socket.writableLength === last ? still + 1 : 0;
  }
  return sent;
}

describe('requests behind one that waits', () => {
  it('are not begun before it is answered, and not read beyond what came with it', async () => {
    greedy.pause();
    greedy.write(`GET /v1/poll?filter=quiet&wait=60000 HTTP/1.1\r\n${host}\r\n`);
    await sendUntilStuck(greedy, `POST /v1/topics/a HTTP/1.1\r\n${host}Content-Length: 1\r\n\r\n1`.repeat(1000));
    await bystander.check();
    expect(server.log.head.offset - before).toBeLessThan(10);
    // parsed and not begun: what one read brought
    expect(server.door.inFlight).toBeGreaterThan(10);
    expect(server.door.inFlight).toBeLessThan((2 * 64 * 1024) / 60);
    await publish('quiet');
  });

  it('are all answered in their order once it is', async () => {
    const count = 3000;
    let answers = '';
    greedy.setEncoding('latin1').on('data', text => {
      answers += text;
    });
    greedy.write(`GET /v1/poll?filter=waited-for&wait=60000 HTTP/1.1\r\n${host}\r\n`);
    for (let i = 0; i < count; i++) {
      const body = String(i);
      greedy.write(`POST /v1/topics/n HTTP/1.1\r\n${host}Content-Length: ${body.length}\r\n\r\n${body}`);
    }
    await until(() => server.door.inFlight > 64, 'some of them wait');
    await publish('waited-for');
    const published = (): string => answers.slice(answers.indexOf('HTTP/1.1 ', 1));
    await until(() => published().split('"offset":').length - 1 === count, 'all answered');
    const offsets = [...published().matchAll(/"offset":(\d+)/g)].map(match => Number(match[1]));
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    // the connection is as good as before
    greedy.write(`GET /healthz HTTP/1.1\r\n${host}\r\n`);
    await until(() => answers.split('HTTP/1.1 200 OK').length - 1 === 1 + count + 1, 'answered on');
  });
});

describe('a body that comes as fast as it can', () => {
  /** The most bytes that a turn of the event loop took from the client. */
  async function greatestTurn(bytes: Buffer, total: number): Promise<number> {
    let greatest = 0;
    let sent = 0;
    const pump = (): void => {
      while (sent < total && greedy.write(bytes)) sent += bytes.length;
    };
    greedy.on('drain', () => {
      sent += bytes.length;
      pump();
    });
    greedy.write(
      `POST /v1/publish HTTP/1.1\r\n${host}Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const mine = (): Socket | undefined =>
      [...server.door.sockets].find(({ remotePort }) => remotePort === greedy.localPort);
    await until(() => mine() !== undefined, 'taken in');
    const socket = mine()!;
    pump();
    for (let last = socket.bytesRead; last < total / 2; ) {
      await new Promise(resolve => setImmediate(resolve));
      greatest = Math.max(greatest, socket.bytesRead - last);
      last = socket.bytesRead;
    }
    return greatest;
  }

  it('is read a little at a time', async () => {
    const blank = Buffer.from(`10000\r\n${'\n'.repeat(0x10000)}\r\n`);
    expect(await greatestTurn(blank, 64 * 1024 * 1024)).toBeLessThan(512 * 1024);
  });

  it('is read a little at a time in chunks of a byte', async () => {
    const crumbs = Buffer.from('1\r\n\n\r\n'.repeat(20_000));
    expect(await greatestTurn(crumbs, 8 * 1024 * 1024)).toBeLessThanOrEqual(2 * 64 * 1024);
  });
});
